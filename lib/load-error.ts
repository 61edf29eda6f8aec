import type { Candidate } from './candidates.js';

/** A candidate that did not load. */
export interface Attempt {
  readonly candidate: Candidate;
  readonly reason: string;
  /** What loading it threw; null where it was not tried. */
  readonly cause: unknown;
}

export function loadError(attempts: readonly Attempt[], packageRoot: string): Error {
  const tried = attempts.map(({ candidate, reason }) => `  ${candidate.file}\n    ${reason}`);
  const message = [
    `gemmconv could not load its native addon for ${system()}.`,
    ...['Tried:', ...tried],
    ...remedy(attempts, packageRoot),
  ].join('\n');
  const cause = attempts.find((attempt) => attempt.cause !== null)?.cause;
  return bindingError(message, cause);
}

/** Of code that does not find its own package.json. */
export function misplacedError(cause: unknown): Error {
  const remedy = isForbidden(cause)
    ? FORBIDDEN
    : [
        'It is not in its own package: a bundler must have taken it elsewhere, and cannot take the addon.',
        'To mend it, leave gemmconv out of the bundle (esbuild: --external:gemmconv), and install it there:',
        '  npm install gemmconv',
      ];
  const failed = `gemmconv could not load its native addon for ${system()}.`;
  return bindingError([failed, ...remedy].join('\n'), cause);
}

function bindingError(message: string, cause: unknown): Error {
  const error = cause === undefined ? new Error(message) : new Error(message, { cause });
  return Object.assign(error, { code: 'ERR_GEMMCONV_BINDING' });
}

/** One command, as a shell takes it, and when it is that. */
function remedy(attempts: readonly Attempt[], packageRoot: string): string[] {
  const root = packageRoot.replace(/[\\/]$/, '');
  if (attempts.some(({ cause }) => isForbidden(cause))) {
    return FORBIDDEN;
  }
  if (process.env.GEMMCONV_ADDON) {
    return [
      'The environment variable GEMMCONV_ADDON says so. To mend it:',
      '  unset GEMMCONV_ADDON',
    ];
  }
  if (attempts.some(({ candidate }) => candidate.isOurs && !needsNewerSystem(attempts))) {
    return [
      'To mend it, install the package anew, in the directory of your package.json:',
      `  rm -rf "${root}" && npm install`,
    ];
  }
  return [
    'To mend it, compile the addon, with CMake and a C++ compiler, and nothing downloaded:',
    `  node "${root}/compile.mjs"`,
  ];
}

function isForbidden(cause: unknown): boolean {
  const { code, name } = (cause ?? {}) as { code?: unknown; name?: unknown };
  return code === 'ERR_DLOPEN_DISABLED' || name === 'NotCapable';
}

const FORBIDDEN = [
  'This process may not load addons. To mend it, start it with leave to:',
  'Deno' in globalThis
    ? '  deno run --allow-ffi --allow-read --allow-env …'
    : '  node --allow-addons … (and without --no-addons)',
];

/** As when glibc is older than what the prebuilt addon was linked with. */
function needsNewerSystem(attempts: readonly Attempt[]): boolean {
  return attempts.some(({ reason }) =>
    /version .?(GLIBC|GLIBCXX|CXXABI)_\S+ not found/.test(reason),
  );
}

function system(): string {
  const { platform, arch, version } = process;
  return [`${platform}-${arch}`, ...libc(), `Node ${version}`].join(', ');
}

/** The C library matters on Linux only: an addon built for one does not load on the other. */
function libc(): string[] {
  if (process.platform !== 'linux') return [];
  try {
    const report = process.report?.getReport() as unknown as
      | { readonly header?: { readonly glibcVersionRuntime?: string } }
      | undefined;
    const glibc = report?.header?.glibcVersionRuntime;
    return [glibc === undefined ? 'no glibc (musl?)' : `glibc ${glibc}`];
  } catch {
    return []; // Deno asks for permission
  }
}
