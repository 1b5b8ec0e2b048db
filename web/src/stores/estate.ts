/** The tree of places with their colours, and the devices of the site that is shown. */
import { computed, reactive, readonly, type ComputedRef, type DeepReadonly } from "vue";

import { get } from "@/api/client";
import type { Device, DevicePage, Presence, Tree, TreeNode } from "@/api/types";

import { inLocale, usePreferences } from "./preferences";

interface EstateStore {
  nodes: Record<string, TreeNode>;
  children: Record<string, string[]>;
  datum: string;
  coverageMinimum: number;
  /** Sites whose rules stand still, with when they last moved: nothing is known of them since. */
  still: Record<string, number>;
  site: string | null;
  devices: Record<string, Device>;
  /** More devices exist than were loaded for the map. */
  devicesCut: boolean;
  loaded: boolean;
}

const PAGE = 500;
const preferences = usePreferences();
const MOST_DEVICES = 3_000;

const store = reactive<EstateStore>({
  nodes: {}, children: {}, datum: "", coverageMinimum: 0, still: {}, site: null, devices: {},
  devicesCut: false, loaded: false,
});
let treeSequence = 0;
let deviceSequence = 0;

export async function loadTree(): Promise<number> {
  const { body, sequence } = await get<Tree>("/tree");
  const nodes: Record<string, TreeNode> = {};
  const children: Record<string, string[]> = {};
  for (const node of body.nodes) {
    nodes[node.id] = node;
    if (node.parent !== null) (children[node.parent] ??= []).push(node.id);
  }
  treeSequence = sequence ?? 0;
  Object.assign(store, {
    nodes, children, datum: body.datum, coverageMinimum: body.coverage_minimum, still: body.still,
    loaded: true,
  });
  if (store.site === null || nodes[store.site] === undefined) {
    store.site = body.nodes.find((node) => node.level === "site")?.id ?? null;
  }
  return treeSequence;
}

/** Load the devices of the shown site, all pages up to a limit. */
export async function loadDevices(): Promise<number> {
  const site = store.site;
  if (site === null) return treeSequence;
  const devices: Record<string, Device> = {};
  let after: string | null = null;
  let lowest: number | null = null;
  let count = 0;
  do {
    const { body, sequence }: { body: DevicePage; sequence: number | null } =
      await get<DevicePage>("/devices", { node: site, limit: PAGE, after });
    for (const device of body.items) devices[device.id] = device;
    lowest ??= sequence;
    after = body.next;
    count += body.items.length;
  } while (after !== null && count < MOST_DEVICES);
  if (store.site !== site) return lowest ?? treeSequence;
  store.devices = devices;
  store.devicesCut = after !== null;
  deviceSequence = lowest ?? 0;
  return deviceSequence;
}

/** Show another site; the map fills as its devices arrive, or the live store tries again. */
export function chooseSite(id: string): void {
  if (store.site === id) return;
  store.site = id;
  store.devices = {};
  loadDevices().catch(() => {
    store.devicesCut = true;
  });
}

/** Apply a `colour` change; older ones than the loaded tree are already in it. */
export function applyColour(sequence: number, payload: unknown): void {
  if (sequence <= treeSequence) return;
  const change = payload as Partial<TreeNode> & { node?: string };
  const node = store.nodes[change.node ?? change.id ?? ""];
  if (node === undefined) return;
  if (change.colour !== undefined) node.colour = change.colour;
  if (change.alert_colour !== undefined) node.alert_colour = change.alert_colour;
  if (change.heard !== undefined) node.heard = change.heard;
  if (change.total !== undefined) node.total = change.total;
}

/** Apply a `presence` change to a device of the shown site. */
export function applyPresence(sequence: number, payload: unknown): void {
  if (sequence <= deviceSequence) return;
  const change = payload as Partial<Device> & { device?: string; presence?: Presence; at?: number };
  const device = store.devices[change.device ?? change.id ?? ""];
  if (device === undefined) return;
  if (change.presence !== undefined) device.presence = change.presence;
  if (change.at !== undefined) device.presence_since = change.at;
  if (change.last_heard !== undefined) device.last_heard = change.last_heard;
  if (change.cause !== undefined) device.cause = change.cause;
}

export const useEstate = (): DeepReadonly<EstateStore> => readonly(store) as DeepReadonly<EstateStore>;

export const sites: ComputedRef<TreeNode[]> = computed(() =>
  Object.values(store.nodes).filter((node) => node.level === "site"),
);
export const street: ComputedRef<TreeNode | null> = computed(
  () => Object.values(store.nodes).find((node) => node.parent === null) ?? null,
);
export const shownSite: ComputedRef<TreeNode | null> = computed(() =>
  store.site === null ? null : (store.nodes[store.site] ?? null),
);

/** What stands still, in words, and since when; null while all rules move. */
export const standstill: ComputedRef<{ sites: string; since: number } | null> = computed(() => {
  const still = Object.entries(store.still);
  if (still.length === 0) return null;
  const names = still.map(([id]) => inLocale(store.nodes[id]?.name) || id);
  return { sites: names.join(preferences.locale === "zh" ? "、" : ", "), since: Math.min(...still.map(([, at]) => at)) };
});

/** Every node below one, itself included. */
export function within(id: string): Set<string> {
  const found = new Set<string>();
  const open = [id];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    found.add(next);
    open.push(...(store.children[next] ?? []));
  }
  return found;
}

/** Where a node is, in words, from below the site down. */
export function pathOf(id: string): string {
  const names: string[] = [];
  for (let node = store.nodes[id]; node !== undefined; node = store.nodes[node.parent ?? ""]) {
    if (node.level === "site" && names.length > 0) break;
    names.unshift(inLocale(node.name));
  }
  return names.join(" › ") || id;
}
