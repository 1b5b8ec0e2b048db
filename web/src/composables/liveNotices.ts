/** Tells what happened to the machinery: processes that died or came back, edges, the line. */
import { onUnmounted, watch } from "vue";
import { useI18n } from "vue-i18n";

import type { Edge, Process } from "@/api/types";
import { onChange, useLive } from "@/stores/live";
import { notify } from "@/stores/notices";
import { inLocale } from "@/stores/preferences";

export const RUNNING = "running";

export function useLiveNotices(): void {
  const { t } = useI18n();
  const live = useLive();
  const restarts = new Map<string, number>();
  const online = new Map<string, boolean>();
  let wasDown = false;

  const stops = [
    onChange("process", (payload) => {
      const process = payload as Process;
      const before = restarts.get(process.name) ?? 0;
      restarts.set(process.name, process.restarts);
      if (process.state !== RUNNING) {
        if (["failed", "exited", "backoff", "dead", "restarting"].includes(process.state)) {
          notify(t("system.died", { name: process.name, message: process.message ?? "" }), "bad");
        }
      } else if (process.restarts > before) {
        notify(t("system.restarted", { name: process.name, count: process.restarts }), "good");
      }
    }),
    onChange("edge", (payload) => {
      const edge = payload as Partial<Edge> & { edge?: string; online?: boolean };
      const id = edge.id ?? edge.edge ?? "";
      if (id === "" || edge.online === undefined || online.get(id) === edge.online) return;
      const first = !online.has(id);
      online.set(id, edge.online);
      const name = inLocale(edge.name) || id;
      if (!edge.online) notify(t("system.edgeOffline", { name }), "bad");
      else if (!first) notify(t("system.edgeOnline", { name }), "good");
    }),
    watch(
      () => live.state.phase,
      (phase, before) => {
        if (phase === "live" && before === "connecting" && live.state.lastHeardAt !== null && wasDown) {
          notify(t("live.reconnected"), "good");
        }
        wasDown = phase === "waiting" || (wasDown && phase !== "live");
      },
    ),
  ];
  onUnmounted(() => {
    stops.forEach((stop) => {
      stop();
    });
  });
}
