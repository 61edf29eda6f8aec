/** A convolution worth timing, with bias; stride and dilation are the same both ways. */
export interface BenchLayer {
  readonly name: string;
  readonly batch: number;
  readonly C: number;
  readonly OC: number;
  readonly H: number;
  readonly W: number;
  readonly KH: number;
  readonly KW: number;
  readonly stride: number;
  readonly padding: Pads;
  readonly dilation: number;
  readonly groups: number;
}

/** Rows and columns around the image. */
export interface Pads {
  readonly top: number;
  readonly left: number;
  readonly bottom: number;
  readonly right: number;
}

interface Extra extends Partial<Pick<BenchLayer, 'batch' | 'stride' | 'dilation' | 'groups'>> {
  /** On all sides. */
  readonly padding?: number;
}

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
  layer('n16_r50_3x3_512-512@7', 512, 512, 7, 3, { batch: 16 }),
  layer('n8_mbv2_dw3x3_144@56', 144, 144, 56, 3, { batch: 8, groups: 144 }),
  layer('lenet_5x5_1-6@28', 1, 6, 28, 5),
  layer('lenet_5x5_6-16@14', 6, 16, 14, 5, { padding: 0 }),
  layer('alexnet_11x11s4_3-64@224', 3, 64, 224, 11, { stride: 4, padding: 2 }),
  layer('alexnet_5x5g2_96-256@27', 96, 256, 27, 5, { groups: 2 }),
  layer('alexnet_3x3g2_384-256@13', 384, 256, 13, 3, { groups: 2 }),
  layer('resnet20_3x3_16-16@32', 16, 16, 32, 3),
  layer('resnet20_3x3_32-32@16', 32, 32, 16, 3),
  layer('densenet_3x3_128-32@28', 128, 32, 28, 3),
  layer('inception_5x5_16-32@28', 16, 32, 28, 5),
  layer('inception_1x7_192-192@17', 192, 192, 17, [1, 7]),
  layer('inception_7x1_192-192@17', 192, 192, 17, [7, 1]),
  layer('unet_3x3_64-64@125', 64, 64, 125, 3, { padding: 0 }),
  layer('unet_3x3_96-48@61', 96, 48, 61, 3),
  layer('deeplab_3x3d4_256-256@28', 256, 256, 28, 3, { dilation: 4 }),
  layer('aspp_3x3d6_320-64@33', 320, 64, 33, 3, { dilation: 6 }),
  layer('resnext_3x3g32_512-512@14', 512, 512, 14, 3, { groups: 32 }),
  layer('shufflenet_1x1g8_384-192@28', 384, 192, 28, 1, { groups: 8 }),
  layer('mbv1_3x3s2_3-32@224', 3, 32, 224, 3, { stride: 2 }),
  layer('mbv1_dw3x3s2_256@28', 256, 256, 28, 3, { groups: 256, stride: 2 }),
  layer('effnet_dw5x5_240@28', 240, 240, 28, 5, { groups: 240 }),
  layer('effnet_dw5x5s2_672@14', 672, 672, 14, 5, { groups: 672, stride: 2 }),
  layer('n4_mbv2_1x1_96-24@56', 96, 24, 56, 1, { batch: 4 }),
  layer('n32_r50_1x1_512-2048@7', 512, 2048, 7, 1, { batch: 32 }),
  layer('n16_seed_3x3_3-16@32', 3, 16, 32, 3, { batch: 16 }),
  layer('srcnn_9x9_1-64@256', 1, 64, 256, 9),
  layer('tiny_1x1_16-16@4', 16, 16, 4, 1),
  layer('tiny_3x3_8-8@8', 8, 8, 8, 3),
];

/** Multiply-accumulates, padded taps counted. */
export function macsOf(layer: BenchLayer): number {
  const [batch, OC, OH, OW] = outputShapeOf(layer);
  return ((batch * OC * OH * OW * layer.C) / layer.groups) * layer.KH * layer.KW;
}

/** Bytes that go in and come out: input, filter, bias and output, each once. */
export function bytesOf(layer: BenchLayer): number {
  const { batch, C, H, W, OC, KH, KW, groups } = layer;
  const [, , OH, OW] = outputShapeOf(layer);
  return 4 * (batch * C * H * W + (OC * C * KH * KW) / groups + OC + batch * OC * OH * OW);
}

export function outputShapeOf(layer: BenchLayer): [number, number, number, number] {
  const { batch, OC, H, W, KH, KW, stride, padding, dilation } = layer;
  const { top, left, bottom, right } = padding;
  const outputs = (size: number, taps: number) =>
    Math.floor((size - dilation * (taps - 1) - 1) / stride) + 1;
  return [batch, OC, outputs(top + H + bottom, KH), outputs(left + W + right, KW)];
}

/** @param kernel both ways, or [KH, KW]. Padded, by default, so that a stride of 1 keeps the size. */
function layer(
  name: string,
  C: number,
  OC: number,
  size: number,
  kernel: number | readonly [number, number],
  extra: Extra = {},
): BenchLayer {
  const { batch = 1, stride = 1, dilation = 1, groups = 1 } = extra;
  const [KH, KW] = typeof kernel === 'number' ? [kernel, kernel] : kernel;
  const [high, wide] = [KH, KW].map((taps) => extra.padding ?? (dilation * (taps - 1)) / 2);
  const padding = evenPads(high as number, wide as number);
  return { name, batch, C, OC, H: size, W: size, KH, KW, stride, padding, dilation, groups };
}

/** The same above and below, and left and right. */
export function evenPads(height: number, width: number): Pads {
  return { top: height, left: width, bottom: height, right: width };
}

/** Each colour plane filtered by itself. */
function image(name: string, C: number, kernel: number): BenchLayer {
  return { ...layer(name, C, C, 1080, kernel, { groups: C }), W: 1920 };
}
