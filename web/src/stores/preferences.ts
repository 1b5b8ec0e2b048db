/** Language, theme and sound: what a person chose on this browser. */
import { reactive, watchEffect } from "vue";

import type { Locale, Words } from "@/api/types";
import { i18n } from "@/i18n";
import type { Theme } from "@/lib/colours";
import { remember, remembered } from "@/lib/storage";

interface Preferences {
  locale: Locale;
  theme: Theme;
  sound: boolean;
}

const preferences = reactive<Preferences>({
  locale: remembered("locale", ["zh", "en"]) ?? (navigator.language.startsWith("zh") ? "zh" : "en"),
  theme: remembered("theme", ["dark", "light"]) ?? "dark",
  sound: remembered("sound", ["on", "off"]) !== "off",
});

watchEffect(() => {
  i18n.global.locale.value = preferences.locale;
  document.documentElement.lang = preferences.locale === "zh" ? "zh-CN" : "en";
  document.title = i18n.global.t("app.title");
  remember("locale", preferences.locale);
});
watchEffect(() => {
  document.documentElement.dataset.theme = preferences.theme;
  remember("theme", preferences.theme);
});
watchEffect(() => {
  remember("sound", preferences.sound ? "on" : "off");
});

export const usePreferences = (): Preferences => preferences;

/** Pick a name in the language that is shown; the other one where it is missing. */
export function inLocale(words: Words | null | undefined): string {
  if (!words) return "";
  return words[preferences.locale] || words.zh || words.en;
}
