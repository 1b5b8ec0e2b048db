/** Draws the map's device symbols: the family's icon on a disc in the tone's colour. */
import type { Map as MapLibreMap } from "maplibre-gl";

import { hexOf, isColour, type Theme } from "@/lib/colours";
import { familyIcon, ICONS } from "@/lib/icons";

const SIZE = 24;
const RATIO = 2;
const QUIET: Record<Theme, [disc: string, line: string, edge: string]> = {
  dark: ["#18202a", "#b0bdcb", "#3a4a5e"],
  light: ["#ffffff", "#3f4d5d", "#a9b5c3"],
};

function colours(tone: string, theme: Theme): [disc: string, line: string, edge: string] {
  if (isColour(tone)) return [hexOf(tone, theme), theme === "dark" ? "#0a0e13" : "#ffffff", "#00000066"];
  const [disc, line, edge] = QUIET[theme];
  return tone === "lost" ? [disc, hexOf("grey", theme), hexOf("grey", theme)] : [disc, line, edge];
}

function draw(family: string, tone: string, theme: Theme): ImageData | null {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIZE * RATIO;
  const context = canvas.getContext("2d");
  if (context === null) return null;
  const [disc, line, edge] = colours(tone, theme);
  context.scale(RATIO, RATIO);
  context.beginPath();
  context.arc(SIZE / 2, SIZE / 2, SIZE / 2 - 1.5, 0, 2 * Math.PI);
  context.fillStyle = disc;
  context.fill();
  context.lineWidth = 1.5;
  context.strokeStyle = edge;
  if (tone === "lost") context.setLineDash([3, 2]);
  context.stroke();
  context.setLineDash([]);
  context.translate(SIZE * 0.21, SIZE * 0.21);
  context.scale((SIZE * 0.58) / 24, (SIZE * 0.58) / 24);
  context.lineWidth = 2.4;
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = line;
  context.stroke(new Path2D(ICONS[familyIcon(family)]));
  return context.getImageData(0, 0, SIZE * RATIO, SIZE * RATIO);
}

/** Let the map have each symbol drawn when it first needs it. */
export function drawPinsOnDemand(map: MapLibreMap, theme: () => Theme): void {
  map.setMissingStyleImageResolver((id) => {
    const [family, tone] = id.split("/");
    if (family === undefined || tone === undefined || map.hasImage(id)) return;
    const image = draw(family, tone, theme());
    if (image !== null) map.addImage(id, image, { pixelRatio: RATIO });
  });
}
