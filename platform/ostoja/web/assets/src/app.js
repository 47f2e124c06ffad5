/* Everything that pages do in the browser: htmx and small behaviours bound by data attributes. No inline code, no eval. */
import htmx from "htmx.org";
import "./parts/shell.js";
import "./parts/dialogs.js";
import "./parts/toasts.js";
import "./parts/lists.js";
import "./parts/forms.js";
import "./parts/picker.js";
import "./parts/held.js";

window.htmx = htmx;
htmx.config.noSwap = [204, 304, 401, 403, 404, 409, 412, 429, "5xx"];
