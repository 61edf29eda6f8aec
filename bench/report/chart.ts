import { type Content, type Markup, markup } from './markup.js';
import { type Scale, tickLabel } from './scale.js';

/** Where in an SVG the data go; axes and their labels lie around it. */
export interface Plot {
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Room for a page's width, and for a phone's, where text must not shrink with the picture. */
const WIDE = 820;
export const NARROW = 360;

/** The same chart twice; the style shows the one that fits. */
export function bothWidths(draw: (width: number) => Markup): Markup {
  return markup`<div class="wide">${draw(WIDE)}</div><div class="narrow">${draw(NARROW)}</div>`;
}

export function svg(label: string, { width, height }: Plot, content: Content): Markup {
  return markup`<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${label}">
${content}
</svg>`;
}

/** Grid lines with their values below, and what they are. */
export function xAxis(plot: Plot, scale: Scale, title: string): Markup {
  const { left, right, top, bottom } = plot;
  const lines = scale.ticks.map((tick) => {
    const x = fixed(scale.at(tick));
    return markup`<path class="grid" d="M${x} ${top}V${bottom}"/>
<text x="${x}" y="${bottom + 16}" text-anchor="middle">${tickLabel(tick)}</text>`;
  });
  const middle = fixed((left + right) / 2);
  return markup`${lines}<text class="title" x="${middle}" y="${bottom + 36}" text-anchor="middle">${title}</text>`;
}

export function yAxis(plot: Plot, scale: Scale, title: string): Markup {
  const { left, right, top } = plot;
  const lines = scale.ticks.map((tick) => {
    const y = fixed(scale.at(tick));
    return markup`<path class="grid" d="M${left} ${y}H${right}"/>
<text x="${left - 7}" y="${y}" dy=".35em" text-anchor="end">${tickLabel(tick)}</text>`;
  });
  return markup`${lines}<text class="title" x="${left - 30}" y="${top - 10}">${title}</text>`;
}

/** Coordinates to a tenth of a pixel. */
export function fixed(value: number): number {
  return Number(value.toFixed(1));
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

const LINE_HEIGHT = 13;
/** Of the widest of the fonts that the page asks for. */
const CHARACTER_WIDTH = 7.4;

/** Puts labels beside their points where they cover neither one another nor the edge. */
export class Labels {
  readonly #taken: Box[] = [];
  readonly #plot: Plot;

  constructor(plot: Plot, points: readonly (readonly [x: number, y: number])[]) {
    this.#plot = plot;
    for (const [x, y] of points) {
      this.#taken.push({ left: x - 4, right: x + 4, top: y - 4, bottom: y + 4 });
    }
  }

  /** Keeps a place free. */
  block(left: number, right: number, top: number, bottom: number): void {
    this.#taken.push({ left, right, top, bottom });
  }

  /** Nothing where there is no room. */
  at(x: number, y: number, text: string): Markup | undefined {
    const width = text.length * CHARACTER_WIDTH;
    const places = [
      { anchor: 'start', left: x + 8, top: y - 7 },
      { anchor: 'end', left: x - 8 - width, top: y - 7 },
      { anchor: 'start', left: x + 5, top: y + 5 },
      { anchor: 'start', left: x + 5, top: y - 19 },
      { anchor: 'end', left: x - 5 - width, top: y + 5 },
      { anchor: 'end', left: x - 5 - width, top: y - 19 },
    ];
    for (const { anchor, left, top } of places) {
      const box = { left, right: left + width, top, bottom: top + LINE_HEIGHT };
      if (!this.#isFree(box)) continue;
      this.#taken.push(box);
      const at = anchor === 'start' ? box.left : box.right;
      return markup`<text class="label" x="${fixed(at)}" y="${fixed(top + 10)}" text-anchor="${anchor}">${text}</text>`;
    }
    return undefined;
  }

  #isFree(box: Box): boolean {
    const { left, right, top, bottom } = this.#plot;
    const isInside =
      box.left >= left && box.right <= right && box.top >= top && box.bottom <= bottom;
    return (
      isInside &&
      this.#taken.every(
        (other) =>
          box.right < other.left ||
          box.left > other.right ||
          box.bottom < other.top ||
          box.top > other.bottom,
      )
    );
  }
}
