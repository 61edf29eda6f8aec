/** Calls that a signal may abort, behind one listener for all: Node warns of more than ten. */

export interface Abortable {
  abort(): void;
}

interface Audience {
  readonly calls: Set<Abortable>;
  readonly listener: () => void;
}

const audiences = new WeakMap<AbortSignal, Audience>();

/** Throws what the signal throws. */
export function listen(signal: AbortSignal, call: Abortable): void {
  const audience = audiences.get(signal);
  if (audience !== undefined) {
    audience.calls.add(call);
    return;
  }
  const calls = new Set([call]);
  // The newest first: those that wait in line (lines.ts) are not to begin when others leave.
  const listener = () => {
    for (const one of [...calls].reverse()) one.abort();
  };
  audiences.set(signal, { calls, listener });
  signal.addEventListener('abort', listener);
}

/** Throws what the signal throws. */
export function stopListening(signal: AbortSignal, call: Abortable): void {
  const audience = audiences.get(signal);
  if (!audience?.calls.delete(call) || audience.calls.size > 0) return;
  audiences.delete(signal);
  signal.removeEventListener('abort', audience.listener);
}
