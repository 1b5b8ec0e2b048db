/** Order and tokens of the colours, as the contracts define them. */
import type { Alert, AlertColour } from "@/api/types";
import { TOKENS, type Colour } from "@/colours.generated";

export type Theme = "dark" | "light";
export type Token = (typeof TOKENS)[number];

export const ALERT_COLOURS: readonly AlertColour[] = ["red", "orange", "yellow", "blue"];

const BY_COLOUR = new Map<string, Token>(TOKENS.map((token) => [token.colour, token]));
const GREY = TOKENS[TOKENS.length - 1] as Token;

/** The token of a colour; a word that is not a colour is shown as unknown, which is grey. */
export const tokenOf = (colour: string): Token => BY_COLOUR.get(colour) ?? GREY;
export const rankOf = (colour: string): number => tokenOf(colour).rank;
export const hexOf = (colour: string, theme: Theme): string => tokenOf(colour)[theme];

export const isAlertColour = (colour: string): colour is AlertColour =>
  ALERT_COLOURS.some((known) => known === colour);
export const isColour = (word: string): word is Colour => BY_COLOUR.has(word);

/** Mix two `#rrggbb` colours; `share` is the part of the first, 0 to 1. */
export function mix(first: string, second: string, share: number): string {
  const part = (hex: string, at: number): number => Number.parseInt(hex.slice(at, at + 2), 16);
  const channel = (at: number): string =>
    Math.round(part(first, at) * share + part(second, at) * (1 - share))
      .toString(16)
      .padStart(2, "0");
  return `#${channel(1)}${channel(3)}${channel(5)}`;
}

export const needsAttention = (alert: Alert): boolean =>
  alert.state === "unacknowledged" || alert.state === "rtn_unacknowledged";
export const isStanding = (alert: Alert): boolean => alert.cleared_at === null;
/** Whether an alert belongs on the operator's list: it stands, or nobody has seen it yet. */
export const isOpen = (alert: Alert): boolean =>
  !alert.late && (isStanding(alert) || needsAttention(alert));

/** Most urgent first; then what nobody has acknowledged; then what still stands; then newest. */
export function byUrgency(a: Alert, b: Alert): number {
  return (
    rankOf(b.colour) - rankOf(a.colour) ||
    Number(needsAttention(b)) - Number(needsAttention(a)) ||
    Number(isStanding(b)) - Number(isStanding(a)) ||
    b.raised_at - a.raised_at ||
    a.id.localeCompare(b.id)
  );
}
