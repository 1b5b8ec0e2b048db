/** A parser of server-sent events (WHATWG HTML, section 9.2) that also reports comments. */

export interface ServerEvent {
  id: string;
  event: string;
  data: string;
}

/**
 * Return a function that takes chunks of text and calls back with each whole event.
 *
 * `onComment` is called for heartbeats, which the browser's own EventSource would hide.
 */
export function createParser(
  onEvent: (event: ServerEvent) => void,
  onComment: () => void,
): (chunk: string) => void {
  let rest = "";
  let id = "";
  let event = "";
  let data: string[] = [];

  function line(text: string): void {
    if (text === "") {
      if (data.length > 0) onEvent({ id, event: event === "" ? "message" : event, data: data.join("\n") });
      event = "";
      data = [];
      return;
    }
    const colon = text.indexOf(":");
    if (colon === 0) {
      onComment();
      return;
    }
    const name = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, "");
    if (name === "data") data.push(value);
    else if (name === "event") event = value;
    else if (name === "id" && !value.includes("\0")) id = value;
  }

  return (chunk) => {
    rest += chunk;
    // A carriage return at the end may be the first half of a CRLF: wait for what follows.
    const usable = rest.endsWith("\r") ? rest.slice(0, -1) : rest;
    const lines = usable.split(/\r\n|\n|\r/);
    const last = lines.pop() ?? "";
    rest = last + rest.slice(usable.length);
    lines.forEach(line);
  };
}
