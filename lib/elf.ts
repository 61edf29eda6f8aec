import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

// The format of Linux libraries and programs, 64-bit and little-endian, as far as we need it.
const HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
const INTERPRETER = 3;
const MACHINES: Readonly<Record<number, string>> = {
  3: 'ia32',
  22: 's390x',
  21: 'ppc64',
  40: 'arm',
  62: 'x64',
  183: 'arm64',
  243: 'riscv64',
  258: 'loong64',
};

/**
 * What is wrong with a library before it is even tried; null when nothing is. `dlopen` kills the
 * process where the file is shorter than its header says (SIGBUS), and of another machine's
 * library musl says no more than "Exec format error".
 *
 * @param arch as in `process.arch`.
 */
export function faultOf(file: string, arch: string): string | null {
  return withFile(file, (descriptor) => {
    const { size } = fstatSync(descriptor);
    if (size === 0) return 'is empty';
    const header = read(descriptor, 0, HEADER_BYTES);
    if (!isElf(header)) return `is no Linux library (${size} bytes)`;
    const cut = (whole: number) => `is cut short: ${size} of at least ${whole} bytes`;
    if (header.length < HEADER_BYTES) return cut(HEADER_BYTES);
    const machine = MACHINES[header.readUInt16LE(18)] ?? 'another machine';
    if (machine !== arch) return `is for ${machine}, and this process is ${arch}`;
    // The section headers, which linkers write last.
    const end =
      Number(header.readBigUInt64LE(40)) + header.readUInt16LE(58) * header.readUInt16LE(60);
    return size < end ? cut(end) : null;
  });
}

/** The loader that a program asks for, such as /lib/ld-musl-x86_64.so.1; null where it has none. */
export function interpreterOf(file: string): string | null {
  return withFile(file, (descriptor) => {
    const header = read(descriptor, 0, HEADER_BYTES);
    if (header.length < HEADER_BYTES || !isElf(header)) return null;
    const start = Number(header.readBigUInt64LE(32));
    const count = header.readUInt16LE(56);
    for (let i = 0; i < count; i++) {
      const entry = read(descriptor, start + i * PROGRAM_HEADER_BYTES, PROGRAM_HEADER_BYTES);
      if (entry.readUInt32LE(0) !== INTERPRETER) continue;
      const path = read(
        descriptor,
        Number(entry.readBigUInt64LE(8)),
        Number(entry.readBigUInt64LE(32)),
      );
      return path.toString('utf8').replace(/\0.*$/, '');
    }
    return null;
  });
}

function isElf(header: Buffer): boolean {
  return header.toString('latin1', 0, 4) === '\x7fELF';
}

function withFile<T>(file: string, use: (descriptor: number) => T): T {
  const descriptor = openSync(file, 'r');
  try {
    return use(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Fewer bytes where the file ends. */
function read(descriptor: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, readSync(descriptor, bytes, 0, length, position));
}
