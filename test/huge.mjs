// Tensors of more than 2^31 elements: 10 GB of memory and half a minute, so not among the tests.
//
//     npm run test:huge
import assert from 'node:assert/strict';
import { Conv2d } from 'gemmconv';

const EXTENT = 50_000; // squared: 2.5e9, beyond 2^31
const STEP = 997;
const weights = { data: new Float32Array([2]), shape: [1, 1, 1, 1] };
const LAYOUTS = ['nchw', 'nhwc'];
const shapeOf = (layout, extent) =>
  layout === 'nchw' ? [1, 1, extent, extent] : [1, extent, extent, 1];

/** The image is zeros, which take no memory until they are written, but for the pixels that count. */
function hugeInput() {
  const data = new Float32Array(EXTENT * EXTENT);
  const count = Math.ceil(EXTENT / STEP);
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < count; j++) data[i * STEP * EXTENT + j * STEP] = i * 1000 + j;
  }
  for (const layout of LAYOUTS) {
    for (const algorithm of ['gemm', 'direct']) {
      const layer = new Conv2d(weights, { stride: STEP, layout, algorithm });
      const { data: output } = layer.runSync({ data, shape: shapeOf(layout, EXTENT) });
      assert.equal(output.length, count * count);
      for (let i = 0; i < count; i++) {
        for (let j = 0; j < count; j++) assert.equal(output[i * count + j], 2 * (i * 1000 + j));
      }
      console.log(`input of ${data.length} values, ${layout}, ${algorithm}: right`);
    }
  }
}

/** Padding makes a large output of a small image: the bias, and the image somewhere near the end. */
function hugeOutput(out, layout) {
  const image = 100;
  const data = Float32Array.from({ length: image * image }, (_, i) => i + 1);
  const padding = { top: EXTENT - image, left: EXTENT - image, bottom: 0, right: 0 };
  const layer = new Conv2d(weights, { padding, layout, bias: new Float32Array([-1]) });
  layer.runSync({ data, shape: shapeOf(layout, image) }, { out });
  const first = EXTENT - image;
  for (let row = 0; row < EXTENT; row += row < first - STEP ? STEP : 1) {
    for (let column = 0; column < EXTENT; column += column < first - STEP ? STEP : 1) {
      const inside = row >= first && column >= first;
      const value = inside ? data[(row - first) * image + column - first] : 0;
      assert.equal(out[row * EXTENT + column], 2 * value - 1);
    }
  }
  console.log(
    `output of ${out.length} values, ${layout}, ${layer.plan(shapeOf(layout, image)).algorithm}: right`,
  );
}

hugeInput();
const out = new Float32Array(EXTENT * EXTENT);
for (const layout of LAYOUTS) hugeOutput(out.fill(7), layout);
