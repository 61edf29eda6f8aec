import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { ProblemField } from '../binding.js';
import { slide } from '../lib/geometry.js';
import { type Conv2dProblem, encodeProblem, makeProblem } from '../lib/problem.js';
import { validateLayer } from '../lib/validate.js';
import { ones } from './wrong.js';

/** In the order of the boundary's declaration, which the native core counts by too. */
const FIELDS = [
  ...(readFileSync(new URL('../binding.d.ts', import.meta.url), 'utf8')
    .split('type ProblemField')[1]
    ?.split(';')[0]
    ?.matchAll(/\| '(\w+)'/g) ?? []),
].map(([, field]) => field as ProblemField);

test('every field has its place', () => {
  const numbered = Object.fromEntries(FIELDS.map((field, index) => [field, index]));
  expect(FIELDS).toHaveLength(23);
  expect([...encodeProblem(numbered as Conv2dProblem)]).toEqual([...FIELDS.keys()]);
});

const image = { batch: 2, channels: 4, height: 5, width: 7 };

function problemOf(options: Parameters<typeof validateLayer>[1], fragile = false): Conv2dProblem {
  const { layer } = validateLayer(ones(6, 2, 3, 2), options);
  return makeProblem(layer, image, slide(layer, image, 'shape'), fragile);
}

test('a problem, field by field', () => {
  const options = {
    ...{ groups: 2, stride: [2, 1], dilation: [1, 3], algorithm: 'direct' },
    padding: { top: 1, left: 0, bottom: 2, right: 3 },
  };
  expect(problemOf(options)).toEqual({
    ...{ batch: 2, channels: 4, height: 5, width: 7 },
    ...{ outChannels: 6, kernelHeight: 3, kernelWidth: 2, groups: 2 },
    ...{ strideHeight: 2, strideWidth: 1, dilationHeight: 1, dilationWidth: 3 },
    ...{ padTop: 1, padLeft: 0, outHeight: 3, outWidth: 7 },
    ...{ layout: 0, filterLayout: 0, algorithm: 3, fragile: 0 },
    ...{ activation: 0, activationMin: -Infinity, activationMax: Infinity },
  });
});

test.each([
  ['none', 0, -Infinity, Infinity],
  ['relu', 1, 0, Infinity],
  ['relu6', 2, 0, 6],
  [{ type: 'clamp', min: -0.1, max: 1e300 }, 3, Math.fround(-0.1), Infinity],
  [{ type: 'leakyRelu', alpha: 0.1 }, 4, Math.fround(0.1), 0],
  ['hardSwish', 5, 0, 0],
  ['sigmoid', 6, 0, 0],
  ['tanh', 7, 0, 0],
  ['silu', 8, 0, 0],
])('activation %o is number %d', (activation, index, activationMin, activationMax) => {
  const expected = { activation: index, activationMin, activationMax };
  expect(problemOf({ groups: 2, activation })).toMatchObject(expected);
});

test('a fragile layer is marked as one', () => {
  expect(problemOf({ groups: 2 }, true).fragile).toBe(1);
  expect(problemOf({ groups: 2 }, false).fragile).toBe(0);
});
