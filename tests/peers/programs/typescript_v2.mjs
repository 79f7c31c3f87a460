// The TypeScript SDK's second line (2026-07-28): node typescript_v2.mjs URL KEY PROMPT [open]
// With `open` it declares URL elicitation: asked to open a link it prints "OPEN <link>", waits for a line, and accepts.
import { createInterface } from 'node:readline/promises';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const [url, key, prompt, opens] = process.argv.slice(2);
const capabilities = opens ? { elicitation: { url: {} } } : {};
const client = new Client({ name: 'peer', version: '1' }, { capabilities, versionNegotiation: { mode: 'auto' } });
if (opens) {
  client.setRequestHandler('elicitation/create', async (request) => {
    console.log(`OPEN ${request.params.url}`);
    const person = createInterface({ input: process.stdin });
    await person.question('');
    person.close();
    return { action: 'accept' };
  });
}
const headers = { Authorization: `Bearer ${key}` };
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
await client.listTools(); // so that it checks the answer against the tool's output schema
console.log(JSON.stringify(await client.callTool({ name: 'use_sentry', arguments: { prompt } })));
await client.close();
