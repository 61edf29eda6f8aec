import type { Outcome } from '../binding.js';
import { invalidValue, outOfMemory, queueFull } from './errors.js';

/** How a call went, as the native core numbers it. */
export const OUTCOMES = [
  'done',
  'input changed',
  'add changed',
  'out changed',
  'out overlaps input',
  'out overlaps add',
  'stale plan',
  'queue full',
  'cancelled',
  'out of memory',
] as const;

export const DONE = OUTCOMES.indexOf('done');
/** The settings have changed since the plan was made: make another. */
export const STALE_PLAN = OUTCOMES.indexOf('stale plan');

/** The tensors that an error may be about. */
interface Tensors {
  readonly input: Float32Array;
  readonly add: Float32Array | null;
  readonly out: Float32Array | null;
}

/** What to tell the caller of a call that was not done. */
export function errorOf(outcome: Outcome, { input, add, out }: Tensors): Error {
  switch (OUTCOMES[outcome]) {
    case 'input changed':
      return changed('input', input);
    case 'add changed':
      return changed('options.add', add);
    case 'out changed':
      return changed('options.out', out);
    case 'out overlaps input':
      return invalidValue('options.out', 'memory that does not overlap input.data', out);
    case 'out overlaps add':
      return invalidValue('options.out', 'memory that does not overlap options.add', out);
    case 'queue full':
      return queueFull();
    case 'out of memory':
      return outOfMemory();
    default:
      return new Error(`gemmconv: unexpected outcome ${outcome}`);
  }
}

function changed(argument: string, data: Float32Array | null): Error {
  return invalidValue(argument, 'memory that keeps its length during the call', data);
}
