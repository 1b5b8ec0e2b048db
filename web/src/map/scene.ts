/** What a site looks like: buildings, floors that have alerts, devices, all with their colours. */
import type { Colour, Device, TreeNode, Position } from "@/api/types";
import { hexOf, mix, rankOf, type Theme } from "@/lib/colours";
import { boundsOf, centre, grown, type Bounds } from "@/lib/geometry";

export interface Block {
  id: string;
  name: string;
  colour: Colour;
  hex: string;
  outline: Position[];
  base: number;
  top: number;
  centre: Position;
  /** Somebody has to acknowledge an alert in it. */
  calls: boolean;
  /** It is what is selected, or holds it. */
  chosen: boolean;
}

export interface Slab {
  /** The floor. */
  id: string;
  hex: string;
  outline: Position[];
  base: number;
  top: number;
}

export interface Pin {
  id: string;
  name: string;
  family: string;
  /** A colour for an alert, `lost` when it is not heard, else `quiet`. */
  tone: string;
  rank: number;
  position: Position;
}

export interface Scene {
  /** Everything that is drawn. */
  extent: Bounds;
  /** What the view is fitted to: the buildings, else whatever there is. */
  bounds: Bounds;
  grounds: { id: string; outline: Position[] }[];
  blocks: Block[];
  slabs: Slab[];
  pins: Pin[];
}

export interface SceneInput {
  site: TreeNode;
  nodes: Readonly<Record<string, TreeNode>>;
  children: Readonly<Record<string, readonly string[]>>;
  devices: readonly Device[];
  /** The worst standing colour of each device. */
  deviceColours: ReadonlyMap<string, Colour>;
  /** Nodes with an alert that nobody has acknowledged. */
  calling: ReadonlySet<string>;
  chosen: string | null;
  theme: Theme;
  nameOf: (node: { name: { zh: string; en: string } }) => string;
}

const NEUTRAL: Record<Theme, string> = { dark: "#2c3947", light: "#eef2f6" };
const LOW_M = 3;
const STOREY_M = 3;

/** The colour of a wall: alerts at full strength, green and grey restrained so alerts stand out. */
export function wallColour(colour: Colour, theme: Theme): string {
  const share = rankOf(colour) > 0 ? 0.92 : colour === "green" ? 0.34 : 0.5;
  return mix(hexOf(colour, theme), NEUTRAL[theme], share);
}

function below(id: string, input: SceneInput): TreeNode[] {
  const found: TreeNode[] = [];
  const open = [...(input.children[id] ?? [])];
  for (let next = open.shift(); next !== undefined; next = open.shift()) {
    const node = input.nodes[next];
    if (node !== undefined) found.push(node);
    open.push(...(input.children[next] ?? []));
  }
  return found;
}

function slabsOf(block: Block, inside: readonly TreeNode[], theme: Theme): Slab[] {
  const floors = inside.filter((node) => node.level === "floor");
  const highest = Math.max(1, ...floors.map((floor) => floor.number ?? 0));
  const storey = (block.top - block.base) / highest || STOREY_M;
  return floors
    .filter((floor) => rankOf(floor.alert_colour) > 0)
    .map((floor) => {
      const number = Math.max(1, floor.number ?? 1);
      const own = floor.geometry;
      const base = own !== null ? own.base_m : block.base + (number - 1) * storey;
      return {
        id: floor.id,
        hex: hexOf(floor.alert_colour, theme),
        outline: grown(own?.outline ?? block.outline, 1.06),
        base,
        top: own !== null && own.height_m > base ? own.height_m : base + storey,
      };
    });
}

/** Build the scene of one site, or null when nothing in it has an outline. */
export function buildScene(input: SceneInput): Scene | null {
  const inside = below(input.site.id, input);
  const blocks: Block[] = [];
  const slabs: Slab[] = [];
  for (const node of inside) {
    if (node.level !== "building" || node.geometry === null) continue;
    const within = below(node.id, input);
    const { outline, base_m: base, height_m: height } = node.geometry;
    const block: Block = {
      id: node.id,
      name: input.nameOf(node),
      colour: node.colour,
      hex: wallColour(node.colour, input.theme),
      outline,
      base,
      top: Math.max(height, base + LOW_M),
      centre: centre(outline),
      calls: [node, ...within].some((place) => input.calling.has(place.id)),
      chosen: [node, ...within].some((place) => place.id === input.chosen),
    };
    const troubled = slabsOf(block, within, input.theme);
    // The floor is what matters where it is known: the rest of the building steps back.
    if (troubled.length > 0) block.hex = mix(block.hex, NEUTRAL[input.theme], 0.5);
    blocks.push(block);
    slabs.push(...troubled);
  }
  const pins = input.devices.flatMap((device) => pinOf(device, input));
  const grounds = input.site.geometry === null ? [] : [{ id: input.site.id, outline: input.site.geometry.outline }];
  const shapes = blocks.length > 0 ? blocks : grounds;
  const points = shapes.flatMap((shape) => shape.outline);
  const all = [...[...grounds, ...blocks].flatMap((shape) => shape.outline), ...pins.map((pin) => pin.position)];
  const extent = boundsOf(all);
  if (extent === null) return null;
  return { extent, bounds: boundsOf(points) ?? extent, grounds, blocks, slabs, pins };
}

function pinOf(device: Device, input: SceneInput): Pin[] {
  if (device.position === null) return [];
  const colour = input.deviceColours.get(device.id);
  const heard = device.presence === "online" || device.presence === "late";
  return [
    {
      id: device.id,
      name: input.nameOf(device),
      family: device.family,
      tone: colour ?? (heard ? "quiet" : "lost"),
      rank: colour === undefined ? (heard ? -1 : 0) : rankOf(colour),
      position: device.position,
    },
  ];
}
