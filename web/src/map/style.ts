/** A MapLibre style made here: no tiles, no glyphs, no sprites, nothing from outside. */
import type { FeatureCollection, Polygon, Point } from "geojson";
import type { StyleSpecification } from "maplibre-gl";

import type { Theme } from "@/lib/colours";
import { closed } from "@/lib/geometry";

import type { Scene } from "./scene";

const PAINT: Record<Theme, { ground: string; site: string; edge: string; light: string }> = {
  dark: { ground: "#0a0e13", site: "#131b24", edge: "#3a4a5e", light: "#ffffff" },
  light: { ground: "#dfe5ec", site: "#f4f6f9", edge: "#a9b5c3", light: "#ffffff" },
};

export const LAYERS = { block: "blocks", slab: "slabs", pin: "pins" } as const;

export interface SceneData {
  grounds: FeatureCollection<Polygon>;
  blocks: FeatureCollection<Polygon>;
  slabs: FeatureCollection<Polygon>;
  pins: FeatureCollection<Point>;
}

interface Solid {
  id: string;
  outline: [number, number][];
  hex?: string;
  base?: number;
  top?: number;
}

function polygons(solids: readonly Solid[]): FeatureCollection<Polygon> {
  return {
    type: "FeatureCollection",
    features: solids.map(({ id, outline, hex, base, top }) => ({
      type: "Feature",
      properties: { id, hex, base, top },
      geometry: { type: "Polygon", coordinates: [closed(outline)] },
    })),
  };
}

export function sceneData(scene: Scene): SceneData {
  return {
    grounds: polygons(scene.grounds),
    blocks: polygons(scene.blocks),
    slabs: polygons(scene.slabs),
    pins: {
      type: "FeatureCollection",
      features: scene.pins.map((pin) => ({
        type: "Feature",
        properties: { id: pin.id, name: pin.name, icon: `${pin.family}/${pin.tone}`, order: -pin.rank },
        geometry: { type: "Point", coordinates: pin.position },
      })),
    },
  };
}

export function siteStyle(data: SceneData, theme: Theme): StyleSpecification {
  const paint = PAINT[theme];
  return {
    version: 8,
    light: { anchor: "viewport", color: paint.light, intensity: 0.32, position: [1.3, 210, 40] },
    sources: {
      grounds: { type: "geojson", data: data.grounds },
      blocks: { type: "geojson", data: data.blocks, promoteId: "id" },
      slabs: { type: "geojson", data: data.slabs },
      pins: { type: "geojson", data: data.pins },
    },
    layers: [
      { id: "ground", type: "background", paint: { "background-color": paint.ground } },
      { id: "site", type: "fill", source: "grounds", paint: { "fill-color": paint.site } },
      {
        id: "site-edge",
        type: "line",
        source: "grounds",
        paint: { "line-color": paint.edge, "line-width": 2, "line-dasharray": [3, 2] },
      },
      {
        id: LAYERS.block,
        type: "fill-extrusion",
        source: "blocks",
        paint: {
          "fill-extrusion-color": ["get", "hex"],
          "fill-extrusion-base": ["get", "base"],
          "fill-extrusion-height": ["get", "top"],
          "fill-extrusion-opacity": 0.94,
          "fill-extrusion-vertical-gradient": true,
        },
      },
      {
        id: LAYERS.slab,
        type: "fill-extrusion",
        source: "slabs",
        paint: {
          "fill-extrusion-color": ["get", "hex"],
          "fill-extrusion-base": ["get", "base"],
          "fill-extrusion-height": ["get", "top"],
          "fill-extrusion-opacity": 1,
          "fill-extrusion-vertical-gradient": false,
        },
      },
      {
        id: LAYERS.pin,
        type: "symbol",
        source: "pins",
        layout: {
          "icon-image": ["get", "icon"],
          "icon-size": ["interpolate", ["linear"], ["zoom"], 15, 0.6, 18, 1],
          "icon-padding": 0,
          "symbol-sort-key": ["get", "order"],
        },
      },
    ],
  };
}
