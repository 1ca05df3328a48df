/** The server that `soak.ts` starts: tells it the address, and prompts with the answers that greedy decoding gives. */
import { createServer, localModels } from '@posttrain/serve';
import { servedRandomModel } from './serving-model.js';
import { knownAnswers } from './soak-clients.js';

const model = await servedRandomModel({ hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2 });
const prompts = await knownAnswers(model);
const server = createServer(localModels('tiny', model, { maxBatch: 16, cacheTokens: 4096 }), {
  maxConcurrent: 16,
  maxQueue: 64,
  maxBodyBytes: 65_536,
});
process.send!({ url: await server.listen({ port: 0 }), prompts });
process.once('SIGTERM', async () => {
  await server.drain();
  process.exit(0);
});
