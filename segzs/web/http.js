/**
 * The backend over HTTP: the routes of `segzs serve`.
 *
 * Every backend has these methods; answers about an image are refused unless they carry its digest.
 */

import { Storage } from "./storage.js";

const RETRIES = 2, LONGEST_WAIT = 5;

export class HttpBackend {
  #storage = new Storage("segzs");

  /** @param base the address that the page was loaded from. */
  constructor(base) {
    this.base = base;
  }

  /** The images that can be opened, as [{name, digest}]. */
  async images() {
    return (await this.#json("images")).images;
  }

  /** Open an image of `images` by its name: {digest, name, width, height, encoded}. */
  open(name) {
    return this.#json("images/open", { name });
  }

  /** Give the server an image file, and open it. */
  put(file) {
    return this.#json(`images?name=${encodeURIComponent(file.name)}`, file, { method: "PUT" });
  }

  /** The address of an image for display. */
  async source(digest) {
    return this.#address(`images/${digest}/file`);
  }

  /** Resolves once the image is encoded. */
  encode(digest) {
    return this.#json(`images/${digest}/encode`, {});
  }

  /** The segments of prompts; without names it is faster. */
  async segment(digest, prompts, { names = true, signal } = {}) {
    return ofImage(digest, await this.#json(`images/${digest}/segment`, { prompts, names }, { signal })).segments;
  }

  /** Every object; `progress` is called with the share done, and `signal` cancels. */
  everything(digest, { progress, signal }) {
    return this.#search(digest, "everything", {}, progress, signal);
  }

  /** The objects that a text describes, best first. */
  find(digest, text, { progress, signal }) {
    return this.#search(digest, "find", { text }, progress, signal);
  }

  /** Masks with the names of now. */
  async name(digest, masks) {
    return ofImage(digest, await this.#json(`images/${digest}/name`, { masks })).segments;
  }

  /** The formats of files: [{name, suffix, folder, loses}]. */
  async formats() {
    return (await this.#json("formats")).formats;
  }

  /** A file of the segments, as {name, blob}. */
  async export(digest, format, segments) {
    const response = await this.#request(`images/${digest}/export`, { format, segments });
    const name = /filename\*=UTF-8''([^;]+)/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
    return { name: name ? decodeURIComponent(name) : `segments.${format}`, blob: await response.blob() };
  }

  /** The vocabulary: {labels, general}. */
  labels() {
    return this.#json("labels");
  }

  /** Use other labels; null means the general vocabulary. */
  setLabels(labels) {
    return this.#json("labels", { labels }, { method: "PUT" });
  }

  /** Let a segment be an example of its name, and return the vocabulary. */
  addExample(digest, rle, name) {
    return this.#json("examples", { digest, rle, name });
  }

  /** The segments that were kept of an image, or null. */
  load(digest) {
    return this.#storage.get(digest);
  }

  /** Keep the segments of an image for the next visit. */
  keep(digest, segments) {
    return this.#storage.put(digest, segments);
  }

  #address(path) {
    return new URL(`api/${path}`, this.base).href;
  }

  async #json(path, body, options) {
    return (await this.#request(path, body, options)).json();
  }

  async #request(path, body, { method = body === undefined ? "GET" : "POST", signal } = {}, retries = RETRIES) {
    const isFile = body instanceof Blob;
    let response;
    try {
      response = await fetch(this.#address(path), {
        method,
        signal,
        headers: body === undefined || isFile ? {} : { "Content-Type": "application/json" },
        body: isFile ? body : JSON.stringify(body),
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The server does not answer. Check that it runs.");
    }
    if (response.ok) return response;
    const wait = Number(response.headers.get("Retry-After"));
    if (response.status === 429 && retries && wait <= LONGEST_WAIT) {
      await new Promise((resolve) => setTimeout(resolve, 1000 * Math.max(wait, 0.5)));
      return this.#request(path, body, { method, signal }, retries - 1);
    }
    throw new Error(await reason(response));
  }

  async #search(digest, kind, body, progress, signal) {
    const response = await this.#request(`images/${digest}/${kind}`, body, { signal });
    for await (const { event, data } of events(response.body)) {
      if (event === "progress") progress(data.done / data.total);
      else if (event === "error") throw new Error(data.message);
      else if (event === "result") return ofImage(digest, data).segments;
    }
    throw new Error("The server ended the answer early. Try again.");
  }
}

/** An answer, if it is about the image that was asked about. */
export function ofImage(digest, answer) {
  if (answer.digest !== digest) throw new Error("The answer is about another image.");
  return answer;
}

async function reason(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `The server answered ${response.status} ${response.statusText}.`;
  }
}

/** The server-sent events of a body, as {event, data}. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const field = (name) => block.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      if (field("data")) yield { event: field("event"), data: JSON.parse(field("data")) };
    }
  }
}
