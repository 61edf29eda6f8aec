/** Memory that all threads of a case write to: enough for the largest input and output of work.ts. */
export const SHARED_BYTES = 4 * 2 * 64 * 58 * 58;
