/** A chart shows what was measured: where nothing was heard the line stops. */

export type Sample = [at: number, value: number | null];

/** Put a null between samples that lie further apart than `widest` ms. */
export function withGaps(samples: readonly (readonly [number, unknown])[], widest: number): Sample[] {
  const result: Sample[] = [];
  let before: number | null = null;
  for (const [at, raw] of samples) {
    if (before !== null && at - before > widest) result.push([before + 1, null]);
    result.push([at, numeric(raw)]);
    before = at;
  }
  return result;
}

/** The widest step (ms) that still counts as continuous. */
export function widestStep(everyMs: number, expectSeconds: number | null): number {
  return Math.max(everyMs * 2.5, (expectSeconds ?? 60) * 2_500);
}

function numeric(value: unknown): number | null {
  if (typeof value === "number") return value;
  return typeof value === "boolean" ? Number(value) : null;
}
