/** Values by key that stay in this browser; without IndexedDB they stay as long as the page. */

export class Storage {
  #memory = new Map();
  #database;

  constructor(name) {
    this.#database = new Promise((resolve) => {
      try {
        const request = indexedDB.open(name, 1);
        request.onupgradeneeded = () => request.result.createObjectStore("values");
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => resolve(null);
      } catch {
        resolve(null); // a frame without storage
      }
    });
  }

  /** The value of a key, or null. */
  async get(key) {
    return (await this.#run("readonly", (values) => values.get(key))) ?? this.#memory.get(key) ?? null;
  }

  /** Keep a value that structured cloning can copy. */
  async put(key, value) {
    this.#memory.set(key, value);
    await this.#run("readwrite", (values) => values.put(value, key));
  }

  async #run(mode, call) {
    const database = await this.#database;
    if (!database) return null;
    return new Promise((resolve) => {
      const request = call(database.transaction("values", mode).objectStore("values"));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(null);
    });
  }
}
