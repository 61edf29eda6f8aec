/** A convolution worth timing: square in all but the image, with bias. */
export interface BenchLayer {
  readonly name: string;
  readonly batch: number;
  readonly C: number;
  readonly OC: number;
  readonly H: number;
  readonly W: number;
  /** KH and KW. */
  readonly kernel: number;
  readonly stride: number;
  /** On every side. */
  readonly padding: number;
  readonly dilation: number;
  readonly groups: number;
}

type Extra = Partial<Pick<BenchLayer, 'batch' | 'stride' | 'dilation' | 'groups'>>;

/** The layer that the project's first table was measured on. */
export const SEED: BenchLayer = layer('seed_3x3_3-16@32', 3, 16, 32, 3);

/** Layers of real networks and image filters. */
export const LAYERS: readonly BenchLayer[] = [
  layer('r50_7x7s2_3-64@224', 3, 64, 224, 7, { stride: 2 }),
  layer('r50_1x1_64-64@56', 64, 64, 56, 1),
  layer('r50_3x3_64-64@56', 64, 64, 56, 3),
  layer('r50_1x1_64-256@56', 64, 256, 56, 1),
  layer('r50_1x1_256-64@56', 256, 64, 56, 1),
  layer('r50_3x3s2_128-128@56', 128, 128, 56, 3, { stride: 2 }),
  layer('r50_1x1s2_256-512@56', 256, 512, 56, 1, { stride: 2 }),
  layer('r50_3x3_128-128@28', 128, 128, 28, 3),
  layer('r50_1x1_512-128@28', 512, 128, 28, 1),
  layer('r50_3x3_256-256@14', 256, 256, 14, 3),
  layer('r50_1x1_1024-256@14', 1024, 256, 14, 1),
  layer('r50_1x1s2_1024-2048@14', 1024, 2048, 14, 1, { stride: 2 }),
  layer('r50_3x3_512-512@7', 512, 512, 7, 3),
  layer('r50_1x1_2048-512@7', 2048, 512, 7, 1),
  layer('vgg_3x3_3-64@224', 3, 64, 224, 3),
  layer('vgg_3x3_64-64@224', 64, 64, 224, 3),
  layer('vgg_3x3_128-128@112', 128, 128, 112, 3),
  layer('vgg_3x3_256-256@56', 256, 256, 56, 3),
  layer('vgg_3x3_512-512@28', 512, 512, 28, 3),
  layer('vgg_3x3_512-512@14', 512, 512, 14, 3),
  layer('mbv2_dw3x3_144@56', 144, 144, 56, 3, { groups: 144 }),
  layer('mbv2_dw3x3s2_144@56', 144, 144, 56, 3, { groups: 144, stride: 2 }),
  layer('mbv2_dw3x3_384@14', 384, 384, 14, 3, { groups: 384 }),
  layer('mbv2_dw3x3_960@7', 960, 960, 7, 3, { groups: 960 }),
  layer('mbv2_1x1_24-144@56', 24, 144, 56, 1),
  layer('mbv2_1x1_384-64@14', 384, 64, 14, 1),
  layer('mbv2_1x1_320-1280@7', 320, 1280, 7, 1),
  layer('resnext_3x3g32_128-128@56', 128, 128, 56, 3, { groups: 32 }),
  layer('deeplab_3x3d2_256-256@28', 256, 256, 28, 3, { dilation: 2 }),
  layer('conv5x5_64-64@28', 64, 64, 28, 5),
  image('image_5x5_1-1@1080p', 1, 5),
  image('image_dw3x3_3@1080p', 3, 3),
  layer('n8_r50_3x3_64-64@56', 64, 64, 56, 3, { batch: 8 }),
  layer('n8_r50_1x1_256-64@56', 256, 64, 56, 1, { batch: 8 }),
  layer('n8_r50_3x3_256-256@14', 256, 256, 14, 3, { batch: 8 }),
  layer('n8_r50_3x3_512-512@7', 512, 512, 7, 3, { batch: 8 }),
  layer('n8_mbv2_dw3x3_144@56', 144, 144, 56, 3, { batch: 8, groups: 144 }),
];

/** Multiply-accumulates, padded taps counted. */
export function macsOf(layer: BenchLayer): number {
  const [batch, OC, OH, OW] = outputShapeOf(layer);
  return ((batch * OC * OH * OW * layer.C) / layer.groups) * layer.kernel ** 2;
}

export function outputShapeOf(layer: BenchLayer): [number, number, number, number] {
  const { batch, OC, H, W, kernel, stride, padding, dilation } = layer;
  const outputs = (size: number) =>
    Math.floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;
  return [batch, OC, outputs(H), outputs(W)];
}

/** Padded so that a stride of 1 keeps the size. */
function layer(
  name: string,
  C: number,
  OC: number,
  size: number,
  kernel: number,
  extra: Extra = {},
): BenchLayer {
  const { batch = 1, stride = 1, dilation = 1, groups = 1 } = extra;
  const padding = (dilation * (kernel - 1)) / 2;
  return { name, batch, C, OC, H: size, W: size, kernel, stride, padding, dilation, groups };
}

/** Each colour plane filtered by itself. */
function image(name: string, C: number, kernel: number): BenchLayer {
  return { ...layer(name, C, C, 1080, kernel, { groups: C }), W: 1920 };
}
