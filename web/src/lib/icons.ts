/** Line icons on a 24 px grid, drawn for this console: stroke paths only. */
export const ICONS = {
  alerts: "M12 4a6 6 0 0 0-6 6v4l-2 3h16l-2-3v-4a6 6 0 0 0-6-6zM10 20h4",
  map: "M9 4 3 6.500v13.500l6-2.500 6 2.500 6-2.500V4l-6 2.500zM9 4v13.500M15 6.500V20",
  devices: "M4 5h16v10H4zM9 19h6M12 15v4",
  system: "M4 5h16v6H4zM4 13h16v6H4zM7.500 8h.01M7.500 16h.01",
  sound: "M4 9.500v5h3.500L12 19V5L7.500 9.500zM15.500 9a4 4 0 0 1 0 6M18 6.500a8 8 0 0 1 0 11",
  mute: "M4 9.500v5h3.500L12 19V5L7.500 9.500zM16 9.500l5 5M21 9.500l-5 5",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2",
  moon: "M20 14.500A8.500 8.500 0 0 1 9.500 4 8.500 8.500 0 1 0 20 14.500z",
  user: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4.500 20c1-4 4-6 7.500-6s6.500 2 7.500 6",
  close: "M6 6l12 12M18 6 6 18",
  back: "M15 5l-7 7 7 7",
  forward: "M9 5l7 7-7 7",
  tilt: "M3 17l5-8h8l5 8zM12 4v2",
  home: "M4 11l8-7 8 7v9H4z",
  check: "M5 12.500l4.500 4.500L19 7.500",
  search: "M10.500 4a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13zM15.500 15.500 20 20",
  clock: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4.500l3 2",
  camera: "M3 7h12v10H3zM15 10.500l6-3v9l-6-3z",
  meter: "M5 4h14v16H5zM8 8h8v4H8zM9 16h.01M12 16h.01M15 16h.01",
  elevator: "M5 3h14v18H5zM12 3v18M8.500 9 7.500 11h2zM15.500 15l1-2h-2z",
  door: "M6 3h12v18H6zM14.500 12h.01M3 21h18",
  barrier: "M5 21V8h4v13M9 11h12M9 14h12M13 11l-1.500 3M18 11l-1.500 3",
  fire_panel: "M12 3c1 4 5 5.500 5 10.500a5 5 0 0 1-10 0c0-2 1-3.500 2-4.500 0 2 1 3 2 3 1.500-2.500 0-6 1-9z",
  sensor: "M12 10.500a1.500 1.500 0 1 0 0 3 1.500 1.500 0 0 0 0-3zM8 8a5.500 5.500 0 0 0 0 8M16 8a5.500 5.500 0 0 1 0 8M5 5a10 10 0 0 0 0 14M19 5a10 10 0 0 1 0 14",
  output: "M4 10v4h3l6 4V6l-6 4zM16.500 9a4 4 0 0 1 0 6M19 6.500a8 8 0 0 1 0 11",
  edge: "M6 6h12v12H6zM9.500 9.500h5v5h-5zM9 3v3M15 3v3M9 18v3M15 18v3M3 9h3M3 15h3M18 9h3M18 15h3",
} as const;

export type IconName = keyof typeof ICONS;

/** The icon of a device family; an unknown family is drawn as a sensor. */
export const familyIcon = (family: string): IconName =>
  Object.hasOwn(ICONS, family) ? (family as IconName) : "sensor";
