/** Joins the shared live connection and hands each change to whom it concerns. */
import { reactive, readonly, type DeepReadonly } from "vue";

import { openLive, type LiveClient } from "@/live/client";
import { IDLE, type LiveState } from "@/live/machine";
import type { Change, ToTab } from "@/live/protocol";

import { applyAlert, loadAlerts } from "./alerts";
import { setClock } from "./clock";
import { applyColour, applyPresence, loadDevices, loadTree } from "./estate";
import { loadSession } from "./session";

interface LiveStore {
  state: LiveState;
  /** Loading everything failed; nothing on the screen may be taken for current. */
  failed: boolean;
}

type Listener = (payload: unknown) => void;

const store = reactive<LiveStore>({ state: { ...IDLE }, failed: false });
const listeners = new Map<string, Set<Listener>>();
const RETRY_MS = 4_000;
let client: LiveClient | null = null;
let last = 0;
let wanted = false;
let loading: Promise<void> | null = null;

/** Call back with the payload of every change of a topic. */
export function onChange(topic: string, listener: Listener): () => void {
  const set = listeners.get(topic) ?? new Set<Listener>();
  listeners.set(topic, set.add(listener));
  return () => set.delete(listener);
}

function apply({ sequence, topic, payload }: Change): void {
  if (sequence <= last) return;
  last = sequence;
  if (topic === "alert") applyAlert(sequence, payload);
  else if (topic === "colour") applyColour(sequence, payload);
  else if (topic === "presence") applyPresence(sequence, payload);
  else if (topic === "topology" || topic === "standstill") void loadTree().then(loadDevices).catch(fail);
  listeners.get(topic)?.forEach((listener) => {
    listener(payload);
  });
}

function receive(message: ToTab): void {
  if (!wanted) return;
  switch (message.type) {
    case "status":
      store.state = message.state;
      if (message.state.phase === "refused") void loadSession();
      break;
    case "hello":
      setClock(message.hello);
      break;
    case "change":
      apply(message.change);
      break;
    case "reset":
      void reload();
      break;
    case "who":
      break;
  }
}

function fail(): void {
  store.failed = true;
  setTimeout(() => {
    if (wanted) void reload();
  }, RETRY_MS);
}

async function loadAll(): Promise<void> {
  try {
    const tree = await loadTree();
    const [alerts, devices] = await Promise.all([loadAlerts(), loadDevices()]);
    store.failed = false;
    if (!wanted) return;
    last = Math.min(tree, alerts, devices);
    client ??= openLive(receive, () => last);
    client.join(last);
  } catch {
    if (wanted) fail();
  }
}

/** Load everything afresh and go on from there. */
export function reload(): Promise<void> {
  loading ??= loadAll().finally(() => {
    loading = null;
  });
  return loading;
}

export async function startLive(): Promise<void> {
  wanted = true;
  await reload();
}

export function stopLive(): void {
  wanted = false;
  client?.leave();
  store.state = { ...IDLE };
}

export const useLive = (): DeepReadonly<LiveStore> => readonly(store);
