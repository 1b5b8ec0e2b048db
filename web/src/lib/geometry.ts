/** Outlines on a plane: bounds, centres, rings and a local projection in metres. */
import type { Position } from "@/api/types";

export interface Bounds {
  west: number;
  south: number;
  east: number;
  north: number;
}

const METRES_PER_DEGREE = 111_320;

export function boundsOf(points: readonly Position[]): Bounds | null {
  if (points.length === 0) return null;
  const xs = points.map((point) => point[0]);
  const ys = points.map((point) => point[1]);
  return {
    west: Math.min(...xs), south: Math.min(...ys), east: Math.max(...xs), north: Math.max(...ys),
  };
}

/** The ring closed on itself, as GeoJSON wants it. */
export function closed(outline: readonly Position[]): Position[] {
  const first = outline[0];
  const last = outline.at(-1);
  if (first === undefined || last === undefined) return [];
  const same = first[0] === last[0] && first[1] === last[1];
  return same ? [...outline] : [...outline, first];
}

/** The area's centroid (shoelace); for a degenerate outline the mean of its points. */
export function centre(outline: readonly Position[]): Position {
  const ring = closed(outline);
  const origin = ring[0] ?? [0, 0];
  let area = 0;
  let x = 0;
  let y = 0;
  for (let i = 0; i + 1 < ring.length; i++) {
    const a = ring[i] ?? origin;
    const b = ring[i + 1] ?? origin;
    const [ax, ay, bx, by] = [a[0] - origin[0], a[1] - origin[1], b[0] - origin[0], b[1] - origin[1]];
    const cross = ax * by - bx * ay;
    area += cross;
    x += (ax + bx) * cross;
    y += (ay + by) * cross;
  }
  if (Math.abs(area) < 1e-18) {
    const count = Math.max(1, outline.length);
    return [
      outline.reduce((sum, point) => sum + point[0], 0) / count,
      outline.reduce((sum, point) => sum + point[1], 0) / count,
    ];
  }
  return [origin[0] + x / (3 * area), origin[1] + y / (3 * area)];
}

/** The outline grown about its centre, so that a slab stands out of the wall behind it. */
export function grown(outline: readonly Position[], factor: number): Position[] {
  const [x, y] = centre(outline);
  return outline.map((point) => [x + (point[0] - x) * factor, y + (point[1] - y) * factor]);
}

/** A projection to metres, x to the east and y to the south, for plans of one site. */
export function projection(bounds: Bounds): (point: Position) => [x: number, y: number] {
  const shrink = Math.cos((((bounds.south + bounds.north) / 2) * Math.PI) / 180);
  return (point) => [
    (point[0] - bounds.west) * METRES_PER_DEGREE * shrink,
    (bounds.north - point[1]) * METRES_PER_DEGREE,
  ];
}
