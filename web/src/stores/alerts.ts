/** The operator's alert list: what stands or has not been acknowledged. */
import { computed, reactive, readonly, type ComputedRef, type DeepReadonly } from "vue";

import { get, post } from "@/api/client";
import type { Alert, AlertColour, AlertWithSteps, AlertPage } from "@/api/types";
import { byUrgency, isAlertColour, isOpen, isStanding, needsAttention } from "@/lib/colours";

interface AlertStore {
  byId: Record<string, Alert>;
  loaded: boolean;
}

const PAGE = 200;
const MOST = 5_000;
const store = reactive<AlertStore>({ byId: {}, loaded: false });
let sequenceLoaded = 0;
const listeners = new Set<(alert: Alert, before: Alert | undefined) => void>();

/** Call back when an alert changes by a live change, with what it was before. */
export function onAlertChange(listener: (alert: Alert, before: Alert | undefined) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export async function loadAlerts(): Promise<number> {
  const byId: Record<string, Alert> = {};
  let before: string | null = null;
  let lowest: number | null = null;
  let count = 0;
  do {
    const { body, sequence }: { body: AlertPage; sequence: number | null } = await get<AlertPage>(
      "/alerts",
      { state: "open", limit: PAGE, before },
    );
    for (const alert of body.items) byId[alert.id] = alert;
    lowest ??= sequence;
    before = body.next;
    count += body.items.length;
  } while (before !== null && count < MOST);
  sequenceLoaded = lowest ?? 0;
  store.byId = byId;
  store.loaded = true;
  return sequenceLoaded;
}

function keep(alert: Alert): void {
  const before = store.byId[alert.id];
  if (before !== undefined && before.revision > alert.revision) return;
  // Late history is never on the list, and neither is what is over and acknowledged.
  if (isOpen(alert)) store.byId[alert.id] = alert;
  else Reflect.deleteProperty(store.byId, alert.id);
  listeners.forEach((listener) => {
    listener(alert, before);
  });
}

/** Apply an `alert` change; older ones than the loaded list are already in it. */
export function applyAlert(sequence: number, payload: unknown): void {
  const alert = payload as Alert | null;
  if (sequence > sequenceLoaded && typeof alert?.id === "string") keep(alert);
}

export const loadAlert = async (id: string): Promise<AlertWithSteps> =>
  (await get<AlertWithSteps>(`/alerts/${encodeURIComponent(id)}`)).body;

/** Acknowledge the revision that is on the screen; the server refuses an outdated one (409). */
export async function acknowledge(alert: Alert, comment: string): Promise<void> {
  const body = { revision: alert.revision, ...(comment === "" ? {} : { comment }) };
  keep((await post<Alert>(`/alerts/${encodeURIComponent(alert.id)}/acknowledge`, body)).body);
}

export async function addComment(id: string, text: string): Promise<void> {
  await post<unknown>(`/alerts/${encodeURIComponent(id)}/comment`, { text });
}

export const useAlerts = (): DeepReadonly<AlertStore> => readonly(store) as DeepReadonly<AlertStore>;

export const openAlerts: ComputedRef<Alert[]> = computed(() =>
  Object.values(store.byId).sort(byUrgency),
);
export const standingAlerts: ComputedRef<Alert[]> = computed(() => openAlerts.value.filter(isStanding));
export const unacknowledged: ComputedRef<Alert[]> = computed(() =>
  openAlerts.value.filter(needsAttention),
);

/** How many alerts stand in each colour, counted from what is loaded. */
export const counts: ComputedRef<Record<AlertColour, number>> = computed(() => {
  const result: Record<AlertColour, number> = { red: 0, orange: 0, yellow: 0, blue: 0 };
  for (const alert of standingAlerts.value) {
    if (isAlertColour(alert.colour)) result[alert.colour] += 1;
  }
  return result;
});
