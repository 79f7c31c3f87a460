// The TypeScript SDK's first line (handshake era): node typescript_v1.mjs URL PROMPT [open]
// With `open` it declares URL elicitation: it prints "OPEN <link>", waits for a line, and calls again.
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { UrlElicitationRequiredError } from '@modelcontextprotocol/sdk/types.js';
import { person, signingIn, take } from './signing_in.mjs';

const [url, prompt, opens] = process.argv.slice(2);
const capabilities = opens ? { elicitation: { url: {} } } : {};
const client = new Client({ name: 'peer', version: '1' }, { capabilities });
const { provider, answer } = await signingIn();
const transport = () => new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
const first = transport();
await client.connect(first).catch(async (error) => {
  if (!(error instanceof UnauthorizedError)) throw error;
  await first.finishAuth((await answer()).get('code'));
  await client.connect(transport());
});
await client.listTools(); // so that it checks the answer against the tool's output schema
const call = () => client.callTool({ name: 'use_sentry', arguments: { prompt } });
const ask = () =>
  call().catch(async (error) => {
    if (!(error instanceof UrlElicitationRequiredError)) throw error;
    console.log(`OPEN ${error.elicitations[0].url}`);
    await person();
    return call();
  });
await take(ask, (uri) => client.readResource({ uri }));
await client.close();
