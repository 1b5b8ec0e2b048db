/** The words of the event vocabulary in both languages; unknown ones are shown as they came. */
import type { FieldRef } from "@/lib/fields";
import { usePreferences } from "@/stores/preferences";

import vocabulary from "./vocabulary.json";

type Group =
  | "kinds"
  | "fields"
  | "values"
  | "families"
  | "levels"
  | "siteKinds"
  | "counters"
  | "jobs";

const tables: Record<Group, Record<string, string[]>> = vocabulary;
const preferences = usePreferences();

const look = (group: Group, key: string): string[] | undefined =>
  Object.hasOwn(tables[group], key) ? tables[group][key] : undefined;

/**
 * The word in the language that is shown, or the given one.
 *
 * A value can mean something else in one `field` ("bus" is a vehicle or a cable).
 */
export function word(group: Group, key: string, field = ""): string {
  const pair = look(group, `${key}.${field}`) ?? look(group, key);
  const known = pair?.[preferences.locale === "zh" ? 0 : 1];
  // A value may be a device's own text, which is shown exactly as it came.
  return known ?? (group === "values" ? key : key.replaceAll("_", " "));
}

export const kindName = (kind: string): string => word("kinds", kind);
export const fieldName = (field: string): string => word("fields", field);
/** A chart line's name: with its kind where other kinds have a field of this name, too. */
export const lineName = ({ kind, field, shared }: Pick<FieldRef, "kind" | "field" | "shared">): string =>
  shared ? `${kindName(kind)} · ${fieldName(field)}` : fieldName(field);
export const familyName = (family: string): string => word("families", family);

/** The options of a group, for a filter. */
export const optionsOf = (group: Group): string[] => Object.keys(tables[group]);
