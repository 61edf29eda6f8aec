export { Conv2d, conv2d, conv2dSync } from './conv2d.js';
export { getThreads, info, setThreads } from './settings.js';
export type {
  Activation,
  Algorithm,
  Conv2dOptions,
  Conv2dPlan,
  FilterLayout,
  Info,
  Layout,
  Padding,
  RunOptions,
  RunSyncOptions,
  Tensor,
} from './types.js';
