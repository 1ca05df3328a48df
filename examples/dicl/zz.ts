import { seriesModel } from './model.js';

const t = Date.now();
await seriesModel(Number(process.argv[2]), Number(process.argv[3]));
console.error((Date.now() - t) / 1000);
