// What a program adds to the TypeScript SDK's OAuth, either line: a browser, a listener for the answer, and a memory;
// and the turns it takes, its results printed as one line of JSON each.
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline/promises';

/** `provider` for the transport, and `answer()`: the query of the redirect to the listener. */
export async function signingIn() {
  const { promise: answered, resolve } = Promise.withResolvers();
  const listener = createServer((req, res) => {
    const { searchParams } = new URL(req.url, 'http://127.0.0.1');
    res.end('Back to the client.');
    if (searchParams.has('code')) resolve(searchParams);
  });
  await new Promise((listening) => listener.listen(0, '127.0.0.1', listening));
  const redirectUrl = `http://127.0.0.1:${listener.address().port}/callback`;
  const memory = {};
  const provider = {
    redirectUrl,
    clientMetadata: { client_name: 'TypeScript SDK', redirect_uris: [redirectUrl], token_endpoint_auth_method: 'none' },
    clientInformation: () => memory.client,
    saveClientInformation: (client) => void (memory.client = client),
    tokens: () => memory.tokens,
    saveTokens: (tokens) => void (memory.tokens = tokens),
    codeVerifier: () => memory.verifier,
    saveCodeVerifier: (verifier) => void (memory.verifier = verifier),
    discoveryState: () => memory.discovery,
    saveDiscoveryState: (discovery) => void (memory.discovery = discovery),
    redirectToAuthorization: (url) => void execFile(process.env.BROWSER, [url.href]),
  };
  const answer = async () => {
    const query = await answered;
    listener.close();
    listener.closeAllConnections();
    return query;
  };
  return { provider, answer };
}

/** Wait for a line: the person has done what was asked. */
export async function person() {
  const input = createInterface({ input: process.stdin });
  await input.question('');
  input.close();
}

/** Ask, wait when told to connect, ask again; then read the full result behind the answer. */
export async function take(ask, read) {
  let result;
  for (;;) {
    result = await ask();
    console.log(JSON.stringify(result));
    if (!result.isError) break;
    await person();
  }
  console.log(JSON.stringify(await read(result.content.find((block) => block.type === 'resource_link').uri)));
}
