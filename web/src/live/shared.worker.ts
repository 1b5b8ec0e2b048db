/** A SharedWorker that holds the one live connection of all tabs of a browser. */
import { createConnection } from "./connection";
import { createHub, type Tab } from "./hub";
import type { ToHub } from "./protocol";

const hub = createHub(createConnection);

// The DOM library has no global scope for shared workers.
const scope = globalThis as unknown as { onconnect: (event: MessageEvent) => void };

scope.onconnect = (event) => {
  const port = event.ports[0];
  if (port === undefined) return;
  const tab: Tab = (message) => {
    port.postMessage(message);
  };
  port.onmessage = ({ data }: MessageEvent<ToHub>) => {
    if (data.type === "join") hub.join(tab, data.since);
    else hub.leave(tab);
  };
};
