/** A field's value in words: units by the field's name, the vocabulary's words in both languages. */
import type { Locale } from "@/api/types";
import { kindName, word } from "@/i18n/words";

import { decimal, fullTime } from "./format";
import { unitOf } from "./units";

export interface ValueWords {
  yes: string;
  no: string;
  none: string;
}

export function valueText(
  field: string,
  value: unknown,
  data: Readonly<Record<string, unknown>>,
  locale: Locale,
  words: ValueWords,
): string {
  if (value === null || value === undefined || value === "") return words.none;
  if (typeof value === "boolean") return value ? words.yes : words.no;
  if (typeof value === "number") {
    if (field === "last_contact") return fullTime(value, locale);
    return `${decimal(value, locale, 3)} ${unitOf(field, data)}`.trim();
  }
  if (typeof value === "string") return word("values", value, field);
  if (Array.isArray(value)) return value.length === 0 ? words.none : value.map(itemText).join(", ");
  return JSON.stringify(value);
}

/** A fresh state's items are known by their kinds; anything else is shown as it came. */
function itemText(item: unknown): string {
  if (typeof item !== "object" || item === null) return String(item);
  return "kind" in item && typeof item.kind === "string" ? kindName(item.kind) : JSON.stringify(item);
}
