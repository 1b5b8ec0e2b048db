/** The scene of the shown site, kept up to date. */
import { computed, type ComputedRef } from "vue";

import type { Colour } from "@/api/types";
import { rankOf } from "@/lib/colours";
import { buildScene, type Scene } from "@/map/scene";
import { standingAlerts, unacknowledged } from "@/stores/alerts";
import { shownSite, useEstate } from "@/stores/estate";
import { inLocale, usePreferences } from "@/stores/preferences";

export function useSiteScene(chosen: () => string | null): ComputedRef<Scene | null> {
  const estate = useEstate();
  const preferences = usePreferences();
  return computed(() => {
    const site = shownSite.value;
    if (site === null) return null;
    const deviceColours = new Map<string, Colour>();
    for (const { device, colour } of standingAlerts.value) {
      if (device !== null && rankOf(colour) > rankOf(deviceColours.get(device) ?? "grey")) {
        deviceColours.set(device, colour);
      }
    }
    return buildScene({
      site,
      nodes: estate.nodes as Parameters<typeof buildScene>[0]["nodes"],
      children: estate.children,
      devices: Object.values(estate.devices) as Parameters<typeof buildScene>[0]["devices"],
      deviceColours,
      calling: new Set(unacknowledged.value.map((alert) => alert.node)),
      chosen: chosen(),
      theme: preferences.theme,
      nameOf: (node) => inLocale(node.name),
    });
  });
}
