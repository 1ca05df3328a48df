import { fuzzModelFiles } from './fuzz-model-files.js';

fuzzModelFiles(0, 200);
