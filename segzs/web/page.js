/** The page of `segzs serve`. */

import { mount } from "./app.js";
import { HttpBackend } from "./http.js";

mount(document.body, new HttpBackend(document.baseURI), { keys: document });
