/** Times, spans and numbers for people; all moments are ms since the epoch (UTC). */
import type { Locale } from "@/api/types";

const TAG: Record<Locale, string> = { zh: "zh-CN", en: "en-GB" };
const cache = new Map<string, Intl.DateTimeFormat | Intl.NumberFormat>();

function cached<T extends Intl.DateTimeFormat | Intl.NumberFormat>(key: string, make: () => T): T {
  const found = cache.get(key) ?? make();
  cache.set(key, found);
  return found as T;
}

export function clockTime(at: number, locale: Locale): string {
  const format = cached(`t${locale}`, () =>
    new Intl.DateTimeFormat(TAG[locale], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false }),
  );
  return format.format(at);
}

/** The time of day, and the date as well when it is not the day of `now`. */
export function moment(at: number, now: number, locale: Locale): string {
  if (new Date(at).toDateString() === new Date(now).toDateString()) return clockTime(at, locale);
  return fullTime(at, locale);
}

export function fullTime(at: number, locale: Locale): string {
  const format = cached(`f${locale}`, () =>
    new Intl.DateTimeFormat(TAG[locale], {
      year: "numeric", month: "2-digit", day: "2-digit",
      hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false,
    }),
  );
  return format.format(at);
}

const UNITS: [size: number, zh: string, en: string][] = [
  [86_400, "天", "d"],
  [3_600, "小时", "h"],
  [60, "分", "min"],
  [1, "秒", "s"],
];

/** A span of time in its two largest units: "2 h 5 min", "2 小时 5 分". */
export function span(ms: number, locale: Locale): string {
  let seconds = Math.max(0, Math.floor(ms / 1000));
  const parts: string[] = [];
  for (const [size, zh, en] of UNITS) {
    const count = Math.floor(seconds / size);
    if (count === 0 && !(size === 1 && parts.length === 0)) {
      if (parts.length > 0) break;
      continue;
    }
    parts.push(`${String(count)} ${locale === "zh" ? zh : en}`);
    seconds -= count * size;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** A number with at most `digits` decimals, grouped as the language does. */
export function decimal(value: number, locale: Locale, digits = 2): string {
  const format = cached(`n${locale}${String(digits)}`, () =>
    new Intl.NumberFormat(TAG[locale], { maximumFractionDigits: digits }),
  );
  return format.format(value);
}
