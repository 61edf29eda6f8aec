import { runInNewContext } from 'node:vm';
import { expect } from 'vitest';
import type { Tensor } from '../lib/types.js';

/** Lets a value of the wrong type past the compiler. */
export function wrong(value: unknown): never {
  return value as never;
}

/** A tensor of ones. */
export function ones(...shape: number[]): Tensor {
  const size = shape.reduce((product, extent) => product * extent, 1);
  return { data: new Float32Array(size).fill(1), shape };
}

export function revokedProxy(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

export function detach({ buffer }: ArrayBufferView): void {
  structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
}

export function otherRealm(length: number): Float32Array {
  return runInNewContext(`new Float32Array(${length}).fill(1)`);
}

export interface CodedError extends Error {
  readonly code: string;
}

export type Code = 'TYPE' | 'VALUE' | 'RANGE';

/** The error must carry one of Node's codes, with its class, and name the argument. */
export function expectError(error: unknown, code: Code, argument: string): void {
  const codes = {
    TYPE: [TypeError, 'ERR_INVALID_ARG_TYPE'],
    VALUE: [RangeError, 'ERR_INVALID_ARG_VALUE'],
    RANGE: [RangeError, 'ERR_OUT_OF_RANGE'],
  } as const;
  const [Class, name] = codes[code];
  expect(error).toBeInstanceOf(Class);
  expect((error as CodedError).code, (error as Error).message).toBe(name);
  expect((error as Error).message).toMatch(/^Expected .+ for .+, received /);
  expect((error as Error).message).toContain(` for ${argument},`);
}

export function expectThrow(run: () => unknown, code: Code, argument: string): void {
  expectError(caught(run), code, argument);
}

export async function expectRejection(
  promise: Promise<unknown>,
  code: Code,
  argument: string,
): Promise<void> {
  const nothing = Symbol('no rejection');
  const error = await promise.then(
    () => nothing,
    (reason: unknown) => reason,
  );
  expectError(error, code, argument);
}

export function caught(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

/** A wrong value, and the error it must give. */
export interface Case {
  readonly value: unknown;
  readonly code: Code;
  readonly argument: string;
}

export function cases(argument: string, code: Code, values: readonly unknown[]): Case[] {
  return values.map((value) => ({ value, code, argument }));
}

export const notNumbers: readonly unknown[] = [null, true, '1', 1n, {}, Symbol('s'), () => 1];
export const notIntegers = [Number.NaN, 1.5, -1, Infinity, -Infinity, 2 ** 53];
export const notObjects: readonly unknown[] = [null, 1, 'x', 1n, true, Symbol('s'), () => 1];
