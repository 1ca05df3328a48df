import { fuzzModelFiles } from './model-fuzz.js';

fuzzModelFiles(0, 200);
