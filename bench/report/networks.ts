import type { BenchLayer } from '../layers.js';

/** Where layers come from, by the beginning of their names. */
const NETWORKS: readonly (readonly [title: string, ...prefixes: readonly string[]])[] = [
  ['Small', 'seed', 'tiny'],
  ['ResNet and ResNeXt', 'r50', 'resnext', 'resnet20'],
  ['VGG, AlexNet, LeNet', 'vgg', 'alexnet', 'lenet'],
  ['DenseNet and Inception', 'densenet', 'inception'],
  ['MobileNet, EfficientNet, ShuffleNet', 'mbv1', 'mbv2', 'effnet', 'shufflenet'],
  ['DeepLab and U-Net', 'deeplab', 'aspp', 'unet'],
  ['Image filters', 'image', 'srcnn', 'conv5x5'],
  ['Batches', 'n4', 'n8', 'n16', 'n32'],
];

export interface Network {
  readonly title: string;
  readonly layers: readonly BenchLayer[];
}

/** In the order of the list, those of no network last; none that is empty. */
export function networksOf(layers: readonly BenchLayer[]): readonly Network[] {
  const titleOf = ({ name }: BenchLayer) => {
    const prefix = name.split('_')[0] as string;
    return NETWORKS.find(([, ...prefixes]) => prefixes.includes(prefix))?.[0] ?? 'Other';
  };
  return [...NETWORKS.map(([title]) => title), 'Other']
    .map((title) => ({ title, layers: layers.filter((layer) => titleOf(layer) === title) }))
    .filter((network) => network.layers.length > 0);
}
