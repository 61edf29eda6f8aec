import { describe, expect, test } from 'vitest';
import { slide, slidePadded, slideSame, span, type Window } from '../lib/geometry.js';

describe('span', () => {
  test.each([
    [1, 1, 1],
    [3, 1, 3],
    [3, 2, 5],
    [2, 5, 6],
    [1, 100, 1],
  ])('%d taps dilated by %d cover %d', (taps, dilation, covered) => {
    expect(span(taps, dilation)).toBe(covered);
  });
});

describe('explicit padding', () => {
  test.each([
    // size, covered, stride, before, after → out
    [5, 3, 1, 0, 0, 3],
    [5, 3, 1, 1, 1, 5],
    [5, 3, 2, 0, 0, 2],
    [6, 3, 2, 0, 0, 2], // the last column is left over
    [6, 3, 2, 0, 1, 3],
    [224, 7, 2, 3, 3, 112],
    [1, 1, 1, 0, 0, 1],
    [1, 1, 7, 0, 0, 1],
    [2, 5, 1, 3, 0, 1], // larger than the image, not than the padded image
    [4, 1, 3, 0, 0, 2],
    // A true floor: (2 - 3) / 2 = -0.5 is -1, so nothing fits. Truncation would make it one.
    [2, 3, 2, 0, 0, 0],
    [1, 4, 3, 0, 0, 0],
    [1, 5, 3, 0, 0, -1],
    [2 ** 53 - 1, 2, 2 ** 52, 0, 0, 2],
  ])('size %d, covered %d, stride %d, pads %d and %d: %d', (size, covered, stride, a, b, out) => {
    expect(slidePadded(size, covered, stride, a, b)).toEqual({ out, before: a, after: b });
  });
});

describe('SAME', () => {
  test.each([
    // size, covered, stride → out, less, more
    [5, 3, 1, 5, 1, 1],
    [5, 2, 1, 5, 0, 1], // even kernel: one element, at one end
    [5, 4, 1, 5, 1, 2],
    [5, 5, 1, 5, 2, 2], // 3 taps dilated by 2
    [5, 4, 2, 3, 1, 2], // 2 taps dilated by 3
    [6, 3, 2, 3, 0, 1],
    [7, 3, 2, 4, 1, 1],
    [224, 7, 2, 112, 2, 3],
    [10, 1, 3, 4, 0, 0],
    [5, 2, 4, 2, 0, 1],
    [9, 2, 5, 2, 0, 0], // the stride passes over more than the filter covers
    [1, 3, 1, 1, 1, 1],
    [1, 4, 9, 1, 1, 2],
  ])('size %d, covered %d, stride %d: %d', (size, covered, stride, out, less, more) => {
    expect(slideSame(size, covered, stride, false)).toEqual({ out, before: less, after: more });
    expect(slideSame(size, covered, stride, true)).toEqual({ out, before: more, after: less });
  });

  test('gives the very output that its padding gives', () => {
    for (let size = 1; size <= 12; size++) {
      for (let covered = 1; covered <= 14; covered++) {
        for (let stride = 1; stride <= 6; stride++) {
          const { out, before, after } = slideSame(size, covered, stride, false);
          expect(slidePadded(size, covered, stride, before, after).out).toBe(out);
        }
      }
    }
  });
});

const NO_PADS = { top: 0, left: 0, bottom: 0, right: 0 };
const window: Window = {
  outChannels: 6,
  groupChannels: 2,
  groups: 2,
  kernel: [3, 2],
  stride: [2, 1],
  dilation: [1, 3],
  padding: { top: 1, left: 0, bottom: 2, right: 3 },
};
const image = { batch: 2, channels: 4, height: 5, width: 7 };

function code(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
}

describe('slide', () => {
  test('asymmetric pads, strides and dilations', () => {
    // Rows: (5 + 3 - 3) / 2 = 2.5, so 3. Columns: (7 + 3 - 4) / 1 + 1 = 7.
    expect(slide(window, image, 'shape')).toEqual({
      outHeight: 3,
      outWidth: 7,
      pads: { top: 1, left: 0, bottom: 2, right: 3 },
      inputCount: 2 * 4 * 5 * 7,
      outputCount: 2 * 6 * 3 * 7,
      macs: 3 * 2 * 2 * (2 * 6 * 3 * 7),
    });
  });

  test('SAME, each way', () => {
    // Rows: 3 from stride 2, total (3 - 1)·2 + 3 - 5 = 2. Columns: total 4 - 1 = 3.
    const same = slide({ ...window, padding: 'same' }, image, 'shape');
    expect(same).toMatchObject({ outHeight: 3, outWidth: 7 });
    expect(same.pads).toEqual({ top: 1, left: 1, bottom: 1, right: 2 });
    const lower = slide({ ...window, padding: 'same-lower' }, image, 'shape');
    expect(lower.pads).toEqual({ top: 1, left: 2, bottom: 1, right: 1 });
  });

  test('empty batch, no channels', () => {
    const empty = slide(window, { ...image, batch: 0 }, 'shape');
    expect(empty).toMatchObject({ inputCount: 0, outputCount: 0, macs: 0, outHeight: 3 });
    const bias = slide({ ...window, groupChannels: 0 }, { ...image, channels: 0 }, 'shape');
    expect(bias).toMatchObject({ inputCount: 0, outputCount: 252, macs: 0 });
  });

  test('a filter that does not fit names the sizes', () => {
    const short = { ...image, width: 0 };
    expect(() => slide(window, short, 'input.shape')).toThrow(
      "Expected a padded width of at least 4 (the filter's 2 dilated by 3) for input.shape, " +
        'received 3 (0 + 0 + 3)',
    );
    expect(code(() => slide(window, short, 'shape'))).toBe('ERR_OUT_OF_RANGE');
    expect(() => slide({ ...window, dilation: [1, 1], padding: NO_PADS }, short, 'shape')).toThrow(
      "Expected a padded width of at least 2 (the filter's) for shape, received 0 (0 + 0 + 0)",
    );
  });

  test.each([
    ['a dimension', { ...image, height: 2 ** 53 - 1 }],
    ['the padded input', { ...image, height: 2 ** 30, width: 2 ** 30 }],
    ['an empty one too', { ...image, batch: 0, height: 2 ** 30, width: 2 ** 30 }],
    ['the batch', { ...image, batch: 2 ** 50 }],
  ])('counts past 2**53 - 1: %s', (_, huge) => {
    expect(code(() => slide(window, huge, 'shape'))).toBe('ERR_OUT_OF_RANGE');
    expect(code(() => slide({ ...window, padding: 'same' }, huge, 'shape'))).toBe(
      'ERR_OUT_OF_RANGE',
    );
  });

  test('a dilation past every integer', () => {
    const wide: Window = { ...window, dilation: [2 ** 53 - 1, 2 ** 53 - 1], kernel: [9, 9] };
    for (const padding of ['same', 'same-lower', window.padding] as const) {
      expect(code(() => slide({ ...wide, padding }, image, 'shape'))).toBe('ERR_OUT_OF_RANGE');
    }
  });
});
