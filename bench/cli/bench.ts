import { LAYERS, SEED } from '../layers.js';
import { runBench } from '../run.js';

/** One of a kind each: first layer, 3×3, 1×1, strided, large, depthwise, an image filter. */
const HANDFUL = [
  'r50_7x7s2_3-64@224',
  'r50_3x3_64-64@56',
  'r50_1x1_256-64@56',
  'r50_3x3s2_128-128@56',
  'vgg_3x3_256-256@56',
  'mbv2_dw3x3_144@56',
  'image_5x5_1-1@1080p',
];

export async function run(args: readonly string[]): Promise<void> {
  const layers = [SEED, ...LAYERS.filter(({ name }) => HANDFUL.includes(name))];
  const layersAre = `${layers.length} of a kind each; --layers all for all ${1 + LAYERS.length}`;
  await runBench(args, { name: 'npx gemmconv bench', layers, layersAre });
}
