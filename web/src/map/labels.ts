/** Building names as HTML markers: text in GL would need glyph files from a server. */
import { Marker, type Map as MapLibreMap } from "maplibre-gl";

import { tokenOf } from "@/lib/colours";

import type { Block, Scene } from "./scene";

const EARTH_M = 40_075_017;
const TILE_PX = 512;

interface Label {
  marker: Marker;
  block: Block;
}

export class BuildingLabels {
  private readonly labels = new Map<string, Label>();

  constructor(
    private readonly map: MapLibreMap,
    private readonly onClick: (id: string) => void,
  ) {
    map.on("move", () => {
      this.lift();
    });
  }

  update(scene: Scene): void {
    const wanted = new Set(scene.blocks.map((block) => block.id));
    for (const [id, { marker }] of this.labels) {
      if (wanted.has(id)) continue;
      marker.remove();
      this.labels.delete(id);
    }
    for (const block of scene.blocks) {
      const marker = this.labels.get(block.id)?.marker ?? this.create(block.id);
      this.labels.set(block.id, { marker, block });
      marker.setLngLat(block.centre);
      write(marker.getElement(), block);
      marker.addTo(this.map);
    }
    this.lift();
  }

  private create(id: string): Marker {
    const element = document.createElement("button");
    element.type = "button";
    element.addEventListener("click", (event) => {
      event.stopPropagation();
      this.onClick(id);
    });
    return new Marker({ element, anchor: "bottom" });
  }

  /** Put each label on its building's roof: markers themselves stand on the ground. */
  private lift(): void {
    const sine = Math.sin((this.map.getPitch() * Math.PI) / 180);
    for (const { marker, block } of this.labels.values()) {
      const shrink = Math.cos((block.centre[1] * Math.PI) / 180);
      const scale = (TILE_PX * 2 ** this.map.getZoom()) / (EARTH_M * shrink);
      marker.setOffset([0, -block.top * scale * sine - 4]);
    }
  }
}

function write(element: HTMLElement, block: Block): void {
  element.classList.add("map-label");
  element.classList.toggle("calls", block.calls);
  element.classList.toggle("chosen", block.chosen);
  element.dataset.colour = block.colour;
  element.dataset.place = block.id;
  const symbol = document.createElement("span");
  symbol.textContent = tokenOf(block.colour).symbol;
  const name = document.createElement("span");
  name.className = "name";
  name.textContent = block.name;
  element.replaceChildren(symbol, name);
}
