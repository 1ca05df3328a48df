/**
 * A Python program that runs tests in one process and the solution in another. The solution's process is forked before tests and nonces are read, from standard input, so
 * there is nothing in its memory, its files or its frames that it could read them from; the checker is closed to it (`PR_SET_DUMPABLE` 0: no `/proc/<pid>/fd` and `mem`).
 * Where the output is a pipe the solution can read it too: each test has a nonce of its own, so that those of tests that have passed are worth nothing.
 * Calls go over a socket pair as JSON of plain values, so no object of the solution, with an `__eq__` of its own, ever meets a test. What prompt and row give (imports, helpers)
 * runs in both: a test that uses a helper of the prompt has the prompt's, whatever the solution makes of the name.
 */
export const PYTHON_APART = String.raw`
import ast, builtins, collections, ctypes, datetime, decimal, fractions, importlib, json, math, os, socket, sys, traceback, types
LIMIT = 1 << 20

def encode(value, depth=0):
    if depth > 100:
        raise TypeError('a value that is nested too deep')
    each = lambda items: [encode(item, depth + 1) for item in items]
    if value is None or isinstance(value, bool):
        return ['c', value]
    if isinstance(value, int):
        return ['i', hex(value)]
    if isinstance(value, float):
        return ['f', float.hex(value) if math.isfinite(value) else repr(value + 0.0)]
    if isinstance(value, str):
        return ['s', value.encode('utf-8', 'surrogatepass').hex()]
    if isinstance(value, (bytes, bytearray)):
        return ['y' if isinstance(value, bytes) else 'Y', bytes(value).hex()]
    if isinstance(value, complex):
        return ['x', encode(value.real), encode(value.imag)]
    if isinstance(value, list):
        return ['l', each(value)]
    if isinstance(value, tuple):
        return ['t', each(value)]
    if isinstance(value, (set, frozenset)):
        return ['e' if isinstance(value, set) else 'E', each(value)]
    if isinstance(value, dict):
        return ['d', [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in value.items()]]
    if isinstance(value, collections.deque):
        return ['q', each(value)]
    if isinstance(value, range):
        return ['r', [value.start, value.stop, value.step]]
    if isinstance(value, fractions.Fraction):
        return ['F', [value.numerator, value.denominator]]
    if isinstance(value, decimal.Decimal):
        return ['D', str(value)]
    if isinstance(value, datetime.datetime) or isinstance(value, datetime.date):
        return ['T' if isinstance(value, datetime.datetime) else 'A', value.isoformat()]
    if hasattr(value, '__next__'):
        items = []
        for item in value:
            items.append(encode(item, depth + 1))
            if len(items) > LIMIT:
                raise TypeError('an iterator of more than %d items' % LIMIT)
        return ['n', items]
    raise TypeError('a value of type %s, which is no plain data' % type(value).__name__)

def decode(data):
    kind, value = data[0], data[1]
    each = lambda: [decode(item) for item in value]
    if kind == 'c': return value if value in (None, True, False) else None
    if kind == 'i': return int(value, 16)
    if kind == 'f': return float(value) if value in ('inf', '-inf', 'nan') else float.fromhex(value)
    if kind == 's': return bytes.fromhex(value).decode('utf-8', 'surrogatepass')
    if kind == 'y': return bytes.fromhex(value)
    if kind == 'Y': return bytearray.fromhex(value)
    if kind == 'x': return complex(decode(value), decode(data[2]))
    if kind == 'l': return each()
    if kind == 't': return tuple(each())
    if kind == 'e': return set(each())
    if kind == 'E': return frozenset(each())
    if kind == 'd': return {decode(key): decode(item) for key, item in value}
    if kind == 'q': return collections.deque(each())
    if kind == 'r': return range(*[int(item) for item in value])
    if kind == 'F': return fractions.Fraction(int(value[0]), int(value[1]))
    if kind == 'D': return decimal.Decimal(str(value))
    if kind == 'T': return datetime.datetime.fromisoformat(value)
    if kind == 'A': return datetime.date.fromisoformat(value)
    if kind == 'n': return iter(each())
    raise TypeError('no plain data')

def serve(channel, solution):
    """The solution's side: anew for each test, then whatever is called."""
    lines, scope = channel.makefile('r'), {}
    def answer(value):
        channel.sendall((json.dumps(value) + '\n').encode())
    for line in lines:
        request = json.loads(line)
        try:
            if request[0] == 'anew':
                scope = {'__name__': 'solution'}
                exec(compile(solution, 'solution.py', 'exec'), scope)
                known = lambda kind: [name for name, value in scope.items() if kind(value) and not name.startswith('__')]
                modules = {name: scope[name].__name__ for name in known(lambda value: isinstance(value, types.ModuleType))}
                answer(['is', known(callable), modules])
            else:
                arguments, named = decode(request[2]), decode(request[3])
                result = encode(scope[request[1]](*arguments, **named))
                # A test may look at what was made of a list that it has passed.
                after = []
                for argument in arguments:
                    try: after.append(encode(argument))
                    except TypeError: after.append(None)
                answer(['gave', result, after])
        except BaseException as error:
            traceback.print_exc()
            sys.stderr.flush()
            answer(['raised', type(error).__name__, str(error)[:1000]])

def check(channel, given, tests, nonces):
    lines = channel.makefile('r')
    out, flush = sys.stdout.write, sys.stdout.flush
    def ask(*request):
        channel.sendall((json.dumps(request) + '\n').encode())
        line = lines.readline()
        if not line:
            raise RuntimeError('the solution has left')
        reply = json.loads(line)
        if reply[0] == 'raised':
            kind = getattr(builtins, str(reply[1]), RuntimeError)
            # One that ends an iteration would end the test's own early: all(map(...)) is then true of nothing.
            isOne = isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, (StopIteration, StopAsyncIteration))
            raise (kind if isOne else RuntimeError)(*([reply[2]] if kind not in (UnicodeDecodeError, UnicodeEncodeError) else ['', b'', 0, 0, '']))
        return reply
    def calling(name):
        def call(*arguments, **named):
            reply = ask('call', name, encode(arguments), encode(named))
            for before, after in zip(arguments, reply[2]):
                if after is None: continue
                if isinstance(before, (list, bytearray)): before[:] = decode(after)
                elif isinstance(before, (set, dict, collections.deque)):
                    value = decode(after)
                    before.clear()
                    before.extend(value) if isinstance(before, collections.deque) else before.update(value)
            return decode(reply[1])
        call.__name__ = name
        return call
    for i, test in enumerate(tests):
        try:
            scope = {'__name__': 'solution'}
            exec(compile(given, 'given.py', 'exec'), scope)
            own = set(scope)
            _, names, modules = ask('anew')
            for name, module in modules.items():
                if name not in own and not hasattr(builtins, name) and str(module).split('.')[0] in sys.stdlib_module_names:
                    scope[name] = importlib.import_module(module)
            for name in names:
                if name not in own and not hasattr(builtins, name): scope[name] = calling(name)
            exec(compile(test, 'test.py', 'exec'), scope)
        except BaseException:
            traceback.print_exc()
            continue
        out('\n%s %d\n' % (nonces[i], i))
        flush()

def main(solution):
    # Without this the solution could write to the checker's output and read its memory.
    if ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) != 0:
        raise OSError('the checker cannot be closed to the solution')
    # No module of the solution's folder is one of the checker's.
    sys.path[:] = [path for path in sys.path if path not in ('', os.getcwd(), os.path.dirname(os.path.abspath(sys.argv[0])))]
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        sys.stdin = open(0)
        try: serve(theirs, solution)
        finally: os._exit(0)
    theirs.close()
    check(ours, *json.loads(sys.stdin.readline()))
`;
