/** A tab's end of the shared live connection, by the best means that the browser has. */
import { createConnection } from "./connection";
import { createHub, type Hub, type Tab } from "./hub";
import type { ToHub, ToTab } from "./protocol";

const NAME = "estate-live";

export interface LiveClient {
  join(since: number): void;
  leave(): void;
}

/** Open a client; `receive` gets every message, `last` says up to where this tab has changes. */
export function openLive(receive: Tab, last: () => number): LiveClient {
  if (typeof SharedWorker !== "undefined") return byWorker(receive);
  if (typeof BroadcastChannel !== "undefined" && "locks" in navigator) {
    return byLeader(receive, last);
  }
  return alone(receive);
}

function byWorker(receive: Tab): LiveClient {
  const worker = new SharedWorker(new URL("./shared.worker.ts", import.meta.url), {
    type: "module",
    name: NAME,
  });
  worker.port.onmessage = ({ data }: MessageEvent<ToTab>) => {
    receive(data);
  };
  const send = (message: ToHub): void => {
    worker.port.postMessage(message);
  };
  addEventListener("pagehide", () => {
    send({ type: "leave" });
  });
  return {
    join: (since) => {
      send({ type: "join", since });
    },
    leave: () => {
      send({ type: "leave" });
    },
  };
}

/** The tab that holds the lock runs the hub; when it closes, the next one takes over. */
function byLeader(receive: Tab, last: () => number): LiveClient {
  const channel = new BroadcastChannel(NAME);
  let hub: Hub | null = null;
  let joined = false;
  const tell: Tab = (message) => {
    channel.postMessage(message);
    receive(message);
  };

  channel.onmessage = ({ data }: MessageEvent<ToTab | ToHub>) => {
    if (data.type === "join") hub?.join(tell, data.since);
    else if (data.type === "who") {
      if (joined) channel.postMessage({ type: "join", since: last() } satisfies ToHub);
    } else if (data.type !== "leave") receive(data);
  };

  void navigator.locks.request(NAME, async () => {
    hub = createHub(createConnection);
    if (joined) hub.join(tell, last());
    channel.postMessage({ type: "who" } satisfies ToTab);
    await new Promise(() => undefined); // Held until the tab closes.
  });

  return {
    join(since) {
      joined = true;
      if (hub !== null) hub.join(tell, since);
      else channel.postMessage({ type: "join", since } satisfies ToHub);
    },
    leave() {
      joined = false;
    },
  };
}

function alone(receive: Tab): LiveClient {
  const hub = createHub(createConnection);
  return {
    join: (since) => {
      hub.join(receive, since);
    },
    leave: () => {
      hub.leave(receive);
    },
  };
}
