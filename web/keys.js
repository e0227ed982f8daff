// Asks the browser for a key or a passkey, and puts its answer into the form that asked.
// A form says what it wants: data-webauthn is "get" or "create", data-start is what is sent to
// data-from for a challenge, and data-conditional offers passkeys in the name field too.

const text = (buffer) =>
  btoa(Array.from(new Uint8Array(buffer), (it) => String.fromCharCode(it)).join(""))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const bytes = (it) =>
  Uint8Array.from(atob(it.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));

/** The challenge as the browser wants it: what is base64url in JSON is bytes there. */
function readable({ publicKey, ...rest }) {
  const listed = (list) => list?.map((it) => ({ ...it, id: bytes(it.id) }));
  const options = { ...publicKey, challenge: bytes(publicKey.challenge) };
  if (options.user) options.user = { ...options.user, id: bytes(options.user.id) };
  if (options.allowCredentials) options.allowCredentials = listed(options.allowCredentials);
  if (options.excludeCredentials) options.excludeCredentials = listed(options.excludeCredentials);
  for (const [name, value] of Object.entries(options)) if (value === null) delete options[name];
  return { ...rest, publicKey: options };
}

/** The answer as the portal wants it. */
function writable(credential) {
  const response = {};
  for (const name of ["clientDataJSON", "authenticatorData", "signature", "userHandle", "attestationObject"]) {
    const value = credential.response[name];
    if (value) response[name] = text(value);
  }
  const transports = credential.response.getTransports?.();
  if (transports) response.transports = transports;
  const appid = credential.getClientExtensionResults().appid;
  return JSON.stringify({
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    response,
    clientExtensionResults: appid === undefined ? {} : { appid },
  });
}

const says = (form, words) => { form.querySelector("[data-says]").textContent = words; };

async function challenge(form) {
  const response = await fetch(form.dataset.from, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: form.dataset.start,
  });
  const body = await response.json();
  if (!response.ok) throw new Error(body.message);
  return body;
}

/** What went wrong, in words. */
function words(error, form) {
  const registering = form.dataset.webauthn === "create";
  switch (error.name) {
    case "InvalidStateError": return "That key is registered already.";
    case "NotAllowedError": return registering
      ? "Nothing was registered: it was called off, took too long, or cannot do what is asked."
      : "No key answered. It was called off, took too long, or that key was not registered here. Try again, or use another way.";
    case "SecurityError": return "This browser does not trust this address enough to use keys here.";
    case "NotSupportedError": return "This key or browser cannot do what is asked.";
    default: return error.message || "That did not work. Try again.";
  }
}

let waiting; // a conditional request, which gives way to every other

async function use(form, mediation) {
  waiting?.abort();
  waiting = new AbortController();
  const { signal } = waiting;
  const options = await challenge(form);
  if (options.go) { location.assign(options.go); return; }
  const asked = { ...readable(options), signal };
  if (mediation) asked.mediation = mediation;
  const credential = await navigator.credentials[form.dataset.webauthn](asked);
  form.elements.credential.value = writable(credential);
  form.submit();
}

for (const form of document.querySelectorAll("form[data-webauthn]")) {
  if (!window.PublicKeyCredential || !navigator.credentials) {
    form.querySelector("button").disabled = true;
    says(form, "This browser cannot use keys and passkeys. Use another way, or another browser.");
    continue;
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    says(form, "Follow your browser, and touch your key.");
    try {
      await use(form);
    } catch (error) {
      says(form, words(error, form));
      button.disabled = false;
      button.focus();
    }
  });
  if ("conditional" in form.dataset && await window.PublicKeyCredential.isConditionalMediationAvailable?.()) {
    // Nobody asked for this: where it fails, the button is still there.
    use(form, "conditional").catch(() => {});
  }
}
