export { Conv2d, conv2d, conv2dSync } from './conv2d.js';
export { getThreads, info, setLimits, setThreads, stats } from './settings.js';
export type {
  Activation,
  Algorithm,
  Conv2dOptions,
  Conv2dPlan,
  FilterLayout,
  Info,
  Layout,
  Limits,
  Padding,
  RunOptions,
  RunSyncOptions,
  Stats,
  Tensor,
} from './types.js';
