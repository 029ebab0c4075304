// Requests to the server, with the token that its owner gave.

const KEY = "edge-glass-token";
let askForToken = async () => "";

/** Sets the function that asks for the token; it receives whether the last one was refused. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

/** Requests a path below page/api and returns the response; throws an Error with its message. */
export async function request(path, body) {
  for (;;) {
    const token = sessionStorage.getItem(KEY);
    // a header holds no other letters; the server would refuse them too
    const headers = /^[\x21-\x7e]+$/.test(token ?? "") ? { Authorization: `Bearer ${token}` } : {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const response = await send(`page/api/${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (response.status === 401) {
      sessionStorage.setItem(KEY, await askForToken(token !== null));
      continue;
    }
    if (!response.ok) throw new Error(await message(response));
    return response;
  }
}

/** Requests a path and returns its JSON. */
export async function requestJson(path, body) {
  return (await request(path, body)).json();
}

/** Requests a path and yields each line of the response, as JSON, when it arrives. */
export async function* requestLines(path, body) {
  const reader = (await request(path, body)).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const event = JSON.parse(line);
      if (event.error) throw new Error(event.error.message);
      yield event;
    }
  }
}

/** Returns the URL of an image of the server's folder, for an img element. */
export async function imageUrl(id, side) {
  const response = await request(`images/${id}?side=${side}`);
  return URL.createObjectURL(await response.blob());
}

async function send(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Check that it runs, and try again.");
  }
}

async function message(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}
