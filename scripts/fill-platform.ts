// `prepack` and `postpack` (--empty) of the packages in `platforms/`, in the package's folder.
import { emptyPlatform, fillPlatform } from './platforms.js';

if (process.argv.includes('--empty')) emptyPlatform(process.cwd());
else fillPlatform(process.cwd());
