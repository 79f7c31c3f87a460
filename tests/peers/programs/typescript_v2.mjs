// The TypeScript SDK's second line (2026-07-28): node typescript_v2.mjs URL PROMPT [open]
// With `open` it declares URL elicitation: asked to open a link it prints "OPEN <link>", waits for a line, and accepts.
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { person, signingIn, take } from './signing_in.mjs';

const [url, prompt, opens] = process.argv.slice(2);
const capabilities = opens ? { elicitation: { url: {} } } : {};
const client = new Client({ name: 'peer', version: '1' }, { capabilities, versionNegotiation: { mode: 'auto' } });
if (opens) {
  client.setRequestHandler('elicitation/create', async (request) => {
    console.log(`OPEN ${request.params.url}`);
    await person();
    return { action: 'accept' };
  });
}
const { provider, answer } = await signingIn();
const transport = () => new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
const first = transport();
await client.connect(first).catch(async (error) => {
  if (!(error instanceof UnauthorizedError)) throw error;
  await first.finishAuth(await answer()); // checks the issuer too
  await client.connect(transport());
});
await client.listTools(); // so that it checks the answer against the tool's output schema
const ask = () => client.callTool({ name: 'use_sentry', arguments: { prompt } });
await take(ask, (uri) => client.readResource({ uri }));
await client.close();
