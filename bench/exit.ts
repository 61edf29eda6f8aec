import { WrongAnswer } from './contest.js';
import { UsageError } from './usage.js';

/** Runs a program; tells 0, 1 where it failed, 2 where its command line is wrong. */
export async function exitCodeOf(body: () => Promise<void>): Promise<number> {
  try {
    await body();
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`${error.message}\nTry --help.`);
      return 2;
    }
    if (!(error instanceof WrongAnswer)) throw error;
    console.error(error.message);
    return 1;
  }
}
