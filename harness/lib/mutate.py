#!/usr/bin/env python3
"""Writes sources in which every mutation is present at once.

Each mutation has a number and is chosen at run time: ZS_M(17) is true if the
kernel was started with zs_mutant=17.  Therefore one kernel serves all of them.

    mutate.py SOURCE-DIR OUT-DIR CONFIG [NUMBERS-TO-LEAVE-OUT]

reads mm/zsmalloc.c and mm/zsmalloc.h, and writes them and mm/zs_mutate.h; and
    OUT-DIR/list       number, file, line, function, operator, text; by tabs
    OUT-DIR/unmutated  the lines of code that no mutation touches
A mutation never adds or removes a line, so that compilers' errors name the
lines of the source.

The parser knows the C that the kernel is written in.  A function that it cannot
parse is left as it is, and reported.
"""
import os
import re
import sys

FILES = ('mm/zsmalloc.h', 'mm/zsmalloc.c')

# Calls that do not change what zsmalloc does: hooks and checks for tests, traces, and
# calls that only matter for the latency of other tasks
IGNORED_CALLS = re.compile(
    r'^(zs_race|trace_\w+|KUNIT_\w+|VM_WARN_\w+|VM_BUG_\w+|lockdep_assert\w*'
    r'|static_assert|BUILD_BUG_ON\w*|cond_resched|might_sleep\w*|might_lock'
    r'|zspage_check_magic|zspage_set_magic|zspage_assert_locked|guard)$')
# Functions that are checks for the tests
IGNORED_FUNCTIONS = re.compile(r'^(zs_race|zspage_check|zspage_check_round|'
                               r'zspage_check_magic|zspage_set_magic|'
                               r'zspage_assert_locked|zspage_is_idle)$')
# Code of the test suites
IGNORED_IF = 'CONFIG_ZSMALLOC_KUNIT_TEST'

TYPES = re.compile(
    r'^(struct|union|enum|unsigned|signed|int|long|short|char|bool|void|const|'
    r'static|volatile|register|typeof|__auto_type|[us](8|16|32|64)|\w+_t)$')
LOOPS = re.compile(r'^(\w*for_each\w*|list_for_each\w*)$')
TOKEN = re.compile(
    r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|0[xX][0-9a-fA-F]+[uUlL]*|\d+[uUlL]*'
    r'|[A-Za-z_]\w*|<<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]='
    r'|##|[^\s]')
TRIVIA = re.compile(r'\s+|/\*.*?\*/|//[^\n]*', re.S)
DIRECTIVE = re.compile(r'#(?:[^\n\\]|\\.|\\\n)*')

BINARY = [['||'], ['&&'], ['|'], ['^'], ['&'], ['==', '!='],
          ['<', '>', '<=', '>='], ['<<', '>>'], ['+', '-'], ['*', '/', '%']]
ASSIGN = ('=', '+=', '-=', '*=', '/=', '%=', '&=', '|=', '^=', '<<=', '>>=')
SWAP = {'<': '<=', '<=': '<', '>': '>=', '>=': '>', '==': '!=', '!=': '==',
        '+': '-', '-': '+', '*': '/', '/': '*', '%': '/', '<<': '>>',
        '>>': '<<', '&': '|', '|': '&', '^': '&', '+=': '-=', '-=': '+=',
        '++': '--', '--': '++'}
RELATIONAL = ('<', '<=', '>', '>=', '==', '!=')

HEADER = '''\
/* Generated: which mutation is on, see mutate.py. */
#ifndef _MM_ZS_MUTATE_H
#define _MM_ZS_MUTATE_H

#include <linux/compiler.h>
#include <linux/types.h>

#define ZS_NR_MUTANTS %d

#ifdef ZS_REACHED
extern u8 zs_reached[ZS_NR_MUTANTS + 1];
#define ZS_M(n)		({ zs_reached[n] = 1; false; })
#else
extern unsigned int zs_mutant;
#define ZS_M(n)		(unlikely(READ_ONCE(zs_mutant) == (n)))
#endif

/* Operands are evaluated once, and as often as without the mutation. */
#define ZS_BINARY(n, op, other, l, r) ({				\\
	__auto_type zs_l##n = ({ (l); });				\\
	__auto_type zs_r##n = ({ (r); });				\\
	ZS_M(n) ? zs_l##n other zs_r##n : zs_l##n op zs_r##n; })
#define ZS_AND(n, l, r)	({						\\
	bool zs_l##n = !!(l);						\\
	zs_l##n != ZS_M(n) ? !!(r) : zs_l##n; })
#define ZS_OR(n, l, r)	({						\\
	bool zs_l##n = !!(l);						\\
	zs_l##n == ZS_M(n) ? !!(r) : zs_l##n; })
#define ZS_ASSIGN(n, op, other, l, r) ({				\\
	if (ZS_M(n)) (l) other (r); else (l) op (r); })
#define ZS_POST(n, op, other, x)	(ZS_M(n) ? (x) other : (x) op)
#define ZS_PRE(n, op, other, x)		(ZS_M(n) ? other (x) : op (x))
#define ZS_VALUE(n, value, x) ({					\\
	__auto_type zs_x##n = ({ (x); });				\\
	ZS_M(n) ? (typeof(zs_x##n))(value) : zs_x##n; })
/* Ordering: the mutation is the plain access. */
#define ZS_READ_ONCE(n, x)		(ZS_M(n) ? (x) : READ_ONCE(x))
#define ZS_WRITE_ONCE(n, x, v) ({					\\
	if (ZS_M(n)) (x) = (v); else WRITE_ONCE(x, v); })
#define ZS_smp_load_acquire(n, p)	(ZS_M(n) ? *(p) : smp_load_acquire(p))
#define ZS_smp_store_release(n, p, v) ({				\\
	if (ZS_M(n)) *(p) = (v); else smp_store_release(p, v); })

#endif
'''

FOOTER = '''
/* Generated: see mutate.py. */
#ifdef ZS_REACHED
#include <linux/reboot.h>

u8 zs_reached[ZS_NR_MUTANTS + 1];

static int zs_print_reached(struct notifier_block *block, unsigned long action,
			    void *data)
{
	for (unsigned int i = 0; i <= ZS_NR_MUTANTS; i++)
		if (zs_reached[i])
			pr_info("zs_reached %u\\n", i);
	return NOTIFY_DONE;
}

static struct notifier_block zs_reached_block = {
	.notifier_call = zs_print_reached,
};

static int __init zs_reached_init(void)
{
	return register_reboot_notifier(&zs_reached_block);
}
late_initcall(zs_reached_init);
#else
unsigned int zs_mutant __read_mostly;

static int __init zs_mutant_setup(char *text)
{
	return kstrtouint(text, 0, &zs_mutant);
}
early_param("zs_mutant", zs_mutant_setup);

/* Says that the number has arrived, and before zs_init(). */
static int __init zs_mutant_show(void)
{
	pr_info("zs_mutant is %u of %u\\n", zs_mutant, ZS_NR_MUTANTS);
	return 0;
}
early_initcall(zs_mutant_show);
#endif
'''


class ParseError(Exception):
    pass


class Token:
    def __init__(self, pre, text, line, active):
        self.pre, self.text, self.line, self.active = pre, text, line, active
        self.before, self.after = [], []
        self.new = None

    def output(self):
        text = self.text if self.new is None else self.new
        return self.pre + ''.join(self.before) + text + ''.join(self.after)


class Conditions:
    """Which lines of a source are compiled, and are not the tests' own"""
    def __init__(self, config):
        self.config, self.stack = config, []

    def value(self, text):
        text = re.sub(r'\\\n', ' ', text)
        text = re.sub(r'/\*.*?\*/', ' ', text)
        if IGNORED_IF in text:
            return False
        text = re.sub(r'IS_ENABLED\((\w+)\)',
                      lambda m: str(m[1] in self.config), text)
        text = re.sub(r'defined\s*\(?\s*(\w+)\s*\)?',
                      lambda m: str(m[1] in self.config), text)
        text = text.replace('&&', ' and ').replace('||', ' or ')
        text = re.sub(r'!(?!=)', ' not ', text)
        text = re.sub(r'\b(?!True|False|and|or|not)[A-Za-z_]\w*', '0', text)
        try:
            return bool(eval(text, {'__builtins__': {}}))
        except (SyntaxError, NameError, TypeError):
            return True

    def directive(self, text):
        match = re.match(r'#\s*(\w+)\s*(.*)', text, re.S)
        if not match:
            return
        name, rest = match[1], match[2]
        if name == 'ifdef':
            self.stack.append([rest.split()[0] in self.config
                               or not rest.startswith('CONFIG_')])
        elif name == 'ifndef':
            self.stack.append([rest.split()[0] not in self.config])
        elif name == 'if':
            self.stack.append([self.value(rest)])
        elif name == 'elif':
            self.stack[-1].append(not any(self.stack[-1]) and self.value(rest))
        elif name == 'else':
            self.stack[-1].append(not any(self.stack[-1]))
        elif name == 'endif':
            self.stack.pop()

    def active(self):
        return all(branches[-1] for branches in self.stack)


def tokenize(text, config):
    tokens, pos, line = [], 0, 1
    conditions = Conditions(config)
    while True:
        start = pos
        while pos < len(text):
            match = TRIVIA.match(text, pos)
            if match:
                pos = match.end()
                continue
            if text[pos] == '#' and text[text.rfind('\n', 0, pos) + 1:pos].strip() == '':
                match = DIRECTIVE.match(text, pos)
                conditions.directive(match[0])
                pos = match.end()
                continue
            break
        pre = text[start:pos]
        line += pre.count('\n')
        if pos == len(text):
            tokens.append(Token(pre, '', line, True))
            return tokens
        match = TOKEN.match(text, pos)
        tokens.append(Token(pre, match[0], line, conditions.active()))
        line += match[0].count('\n')
        pos = match.end()


class Node:
    def __init__(self, kind, start, end, *kids, op=None):
        self.kind, self.start, self.end = kind, start, end
        self.kids, self.op = kids, op


class Mutator:
    def __init__(self, name, text, config, out, left_out):
        self.file, self.left_out, self.out = name, left_out, out
        self.t = tokenize(text, config)
        self.function, self.returns, self.inside = None, None, None
        self.failed = []
        self.code_lines, self.touched = {}, set()

    # Text and numbers

    def text(self, start, end):
        words = ''
        for token in self.t[start:end]:
            words += (' ' if token.pre and words else '') + token.text
        return words

    def lines(self, start, end):
        return range(self.t[start].line, self.t[end - 1].line + 1)

    def no_code(self, start, end):
        for line in self.lines(start, end):
            self.code_lines.pop(line, None)

    def number(self, start, end, operator, after):
        """The number of a new mutant; None if it is left out."""
        before = self.text(start, end)
        text = before + ' => ' + after
        if self.inside and self.text(*self.inside) not in (before, before + ';'):
            text += '  in: ' + self.text(*self.inside)
        self.touched.update(self.lines(start, end))
        self.out.append((self.file, self.t[start].line, self.function, operator,
                         text))
        n = len(self.out)
        return None if n in self.left_out else n

    def wrap(self, start, end, before, after):
        """Outer ones come first."""
        self.t[start].before.append(before)
        self.t[end - 1].after.insert(0, after)

    # Expressions

    def parse(self, start, end):
        self.i, self.end = start, end
        node = self.comma()
        if self.i != end:
            raise ParseError(f'line {self.t[self.i].line}: '
                             f'unexpected {self.t[self.i].text}')
        return node

    def peek(self, ahead=0):
        i = self.i + ahead
        return self.t[i].text if i < self.end else ''

    def comma(self):
        start = self.i
        kids = [self.assign()]
        while self.peek() == ',':
            self.i += 1
            kids.append(self.assign())
        return kids[0] if len(kids) == 1 else Node('comma', start, self.i, *kids)

    def assign(self):
        start = self.i
        left = self.ternary()
        if self.peek() in ASSIGN:
            op = self.i
            self.i += 1
            return Node('assign', start, None, left, self.assign(), op=op).close(self)
        return left

    def ternary(self):
        start = self.i
        cond = self.binary(0)
        if self.peek() != '?':
            return cond
        self.i += 1
        if self.peek() == ':':
            self.i += 1
            return Node('elvis', start, None, cond, self.ternary()).close(self)
        yes = self.comma()
        self.expect(':')
        return Node('ternary', start, None, cond, yes, self.ternary()).close(self)

    def binary(self, level):
        if level == len(BINARY):
            return self.unary()
        start = self.i
        left = self.binary(level + 1)
        while self.peek() in BINARY[level]:
            op = self.i
            self.i += 1
            left = Node('binary', start, None, left, self.binary(level + 1),
                        op=op).close(self)
        return left

    def matching(self, i):
        depth = 0
        while i < len(self.t):
            if self.t[i].text in ('(', '[', '{'):
                depth += 1
            elif self.t[i].text in (')', ']', '}'):
                depth -= 1
                if not depth:
                    return i
            i += 1
        raise ParseError('unbalanced')

    def expect(self, text):
        if self.peek() != text:
            raise ParseError(f'line {self.t[self.i].line}: '
                             f'{self.peek()} instead of {text}')
        self.i += 1

    def unary(self):
        start, text = self.i, self.peek()
        if text in ('sizeof', 'typeof', '__alignof__', 'offsetof'):
            self.i += 1
            if self.peek() == '(':
                self.i = self.matching(self.i) + 1
            else:
                self.unary()
            return Node('opaque', start, self.i)
        if text in ('++', '--'):
            self.i += 1
            return Node('pre', start, None, self.unary(), op=start).close(self)
        if text in ('!', '~', '-', '+', '*', '&'):
            self.i += 1
            return Node('unary', start, None, self.unary(), op=start).close(self)
        if text == '(' and TYPES.match(self.peek(1)):
            self.i = self.matching(self.i) + 1
            if self.peek() == '{':
                self.i = self.matching(self.i) + 1
                return Node('opaque', start, self.i)
            return Node('cast', start, None, self.unary()).close(self)
        return self.postfix()

    def postfix(self):
        start, text = self.i, self.peek()
        if text == '(':
            close = self.matching(self.i)
            if self.peek(1) == '{':
                self.i = close + 1
                node = Node('opaque', start, self.i)
            else:
                self.i += 1
                inner = self.comma()
                self.expect(')')
                node = Node('paren', start, self.i, inner)
        elif re.match(r'\d', text):
            self.i += 1
            node = Node('number', start, self.i)
        elif text[:1] in '"\'' and text:
            while self.peek()[:1] == '"' or self.peek()[:1] == "'":
                self.i += 1
            node = Node('opaque', start, self.i)
        elif re.match(r'[A-Za-z_]', text):
            self.i += 1
            node = Node('name', start, self.i)
        else:
            raise ParseError(f'line {self.t[self.i].line}: unexpected {text}')
        while True:
            text = self.peek()
            if text == '(':
                node = self.call(start, node)
            elif text == '[':
                self.i += 1
                index = self.comma()
                self.expect(']')
                node = Node('index', start, self.i, node, index)
            elif text in ('.', '->'):
                self.i += 2
                node = Node('member', start, self.i, node)
            elif text in ('++', '--'):
                self.i += 1
                node = Node('post', start, self.i, node, op=self.i - 1)
            else:
                return node

    def call(self, start, callee):
        close, kids = self.matching(self.i), []
        self.i += 1
        while self.i < close:
            if TYPES.match(self.peek()):
                depth = 0
                while self.i < close and (depth or self.peek() != ','):
                    depth += self.peek() in ('(', '[', '{')
                    depth -= self.peek() in (')', ']', '}')
                    self.i += 1
            else:
                kids.append(self.assign())
            if self.i < close:
                self.expect(',')
        self.i = close + 1
        return Node('call', start, self.i, callee, *kids)

    def callee(self, node):
        """Of guard(x)(y), which is a declaration, it is guard."""
        while node.kind == 'call' and node.kids[0].kind == 'call':
            node = node.kids[0]
        if node.kind == 'call' and node.kids[0].kind == 'name':
            return self.t[node.start].text
        return ''

    def mutate(self, node, is_condition=False, is_statement=False):
        """Outer mutations first, then those of the operands"""
        kind, start, end = node.kind, node.start, node.end
        name = self.callee(node)
        if kind == 'opaque' or IGNORED_CALLS.match(name) or name == 'IS_ENABLED':
            return
        if kind == 'paren' or name in ('likely', 'unlikely'):
            self.mutate(node.kids[-1], is_condition)
            return
        if kind == 'binary':
            self.mutate_binary(node, is_condition)
        elif kind == 'unary' and self.t[start].text == '!' and not is_condition:
            n = self.number(start, end, 'not', self.text(start + 1, end))
            if n:
                self.wrap(start, end, '(', f' != ZS_M({n}))')
        elif kind == 'unary' and self.t[start].text == '~':
            n = self.number(start, end, 'not', self.text(start + 1, end))
            if n:
                self.wrap(start, end, f'ZS_PRE({n}, ~, +, (', '))')
                self.t[start].new = ''
        elif kind in ('pre', 'post') and not (is_statement == 'for'):
            self.mutate_step(node)
            return
        elif kind == 'assign' and is_statement == 'yes':
            op = self.t[node.op].text
            if op in SWAP:
                n = self.number(start, end, 'assign', ' '.join(
                    (self.text(start, node.op), SWAP[op],
                     self.text(node.op + 1, end))))
                if n:
                    self.wrap(start, end, f'ZS_ASSIGN({n}, {op}, {SWAP[op]}, (', '))')
                    self.t[node.op].new = '), ('
        elif kind == 'number':
            n = self.number(start, end, 'constant', self.text(start, end) + ' + 1')
            if n:
                self.wrap(start, end, '(', f' + ZS_M({n}))')
        elif kind == 'name' and self.text(start, end) in ('true', 'false'):
            true = self.text(start, end) == 'true'
            n = self.number(start, end, 'constant', 'false' if true else 'true')
            if n:
                self.t[start].new = f'(!ZS_M({n}))' if true else f'(!!ZS_M({n}))'
        elif kind == 'ternary':
            self.condition(node.kids[0], 'true', 'false')
            for kid in node.kids[1:]:
                self.mutate(kid)
            return
        elif kind == 'elvis':
            n = self.number(start, end, 'value', self.text(node.kids[0].start,
                                                           node.kids[0].end))
            if n:
                self.t[node.kids[0].end - 1].after.append(f' ?: ZS_M({n}) ? 0')
        elif name in ('READ_ONCE', 'WRITE_ONCE', 'smp_load_acquire',
                      'smp_store_release'):
            n = self.number(start, end, 'order', 'the plain access')
            if n:
                self.t[start].new = 'ZS_' + name
                self.t[start + 1].new = f'({n}, '
        for kid in node.kids:
            if kid.kind != 'name' or kind not in ('call', 'member'):
                self.mutate(kid)
            elif self.text(kid.start, kid.end) in ('true', 'false'):
                self.mutate(kid)

    def mutate_binary(self, node, is_condition):
        op = self.t[node.op].text
        left, right = node.kids
        if op in ('&&', '||'):
            other = '||' if op == '&&' else '&&'
            if 'IS_ENABLED' in self.text(node.start, node.end):
                return
        elif op in ('==', '!=') and is_condition:
            return          # covered by mutations of the condition
        else:
            other = SWAP[op]
        text = ' '.join((self.text(left.start, left.end), other,
                         self.text(right.start, right.end)))
        n = self.number(node.start, node.end, 'relation' if op in RELATIONAL else
                        'logic' if op in ('&&', '||') else 'arithmetic', text)
        if not n:
            return
        if op == '&&':
            self.wrap(node.start, node.end, f'ZS_AND({n}, (', '))')
        elif op == '||':
            self.wrap(node.start, node.end, f'ZS_OR({n}, (', '))')
        else:
            self.wrap(node.start, node.end, f'ZS_BINARY({n}, {op}, {other}, (', '))')
        self.t[node.op].new = '), ('

    def mutate_step(self, node):
        op = self.t[node.op].text
        kid = node.kids[0]
        text = self.text(kid.start, kid.end)
        after = SWAP[op] + text if node.kind == 'pre' else text + SWAP[op]
        n = self.number(node.start, node.end, 'step', after)
        if n:
            self.wrap(node.start, node.end,
                      f'ZS_{node.kind.upper()}({n}, {op}, {SWAP[op]}, ', ')')
            self.t[node.op].new = ''

    def condition(self, node, *values):
        if 'IS_ENABLED' in self.text(node.start, node.end):
            return
        for value in values:
            n = self.number(node.start, node.end, 'condition', value)
            if n and value == 'true':
                self.wrap(node.start, node.end, '(!!(', f') | ZS_M({n}))')
            elif n:
                self.wrap(node.start, node.end, '(!!(', f') & !ZS_M({n}))')
        self.mutate(node, is_condition=True)

    # Statements; each returns the index behind it.

    def until(self, i, text):
        depth = 0
        while True:
            here = self.t[i].text
            if not depth and here == text:
                return i
            if not here:
                raise ParseError('unfinished')
            depth += here in ('(', '[', '{')
            depth -= here in (')', ']', '}')
            i += 1

    def statement(self, i, sole=False):
        """@sole: all that an if without else does"""
        text = self.t[i].text
        self.inside = None
        if text == '{':
            i += 1
            while self.t[i].text != '}':
                i = self.statement(i)
            return i + 1
        if text == ';':
            return i + 1
        if text == 'if':
            return self.branch(i)
        if text == 'for':
            return self.loop(i)
        if text in ('while', 'switch'):
            close = self.matching(i + 1)
            if text == 'while':
                node = self.parse(i + 2, close)
                self.inside = (i, close + 1)
                self.condition(node, 'false')
            return self.statement(close + 1)
        if text == 'do':
            i = self.statement(i + 1)
            close = self.matching(i + 1)
            node = self.parse(i + 2, close)
            self.inside = (i, close + 1)
            self.condition(node, 'false')
            return close + 2
        if LOOPS.match(text) and self.t[i + 1].text == '(':
            return self.statement(self.matching(i + 1) + 1)
        if text in ('case', 'default'):
            return self.until(i, ':') + 1
        if text not in ('default',) and self.t[i + 1].text == ':':
            return i + 2
        end = self.until(i, ';')
        self.inside = (i, end + 1)
        if sole:        # covered by mutations of its condition
            self.touched.update(self.lines(i, end + 1))
        if TYPES.match(text) and not self.t[i + 1].text == '(':
            self.declaration(i, end)
        elif text == 'return':
            self.leave(i, end, sole)
        elif text in ('break', 'continue', 'goto', 'fallthrough'):
            if not sole and text != 'fallthrough':
                self.drop(i, end)
        else:
            node = self.parse(i, end)
            if not IGNORED_CALLS.match(self.callee(node)):
                if not sole:
                    self.drop(i, end)
                self.mutate(node, is_statement='yes')
            else:
                self.no_code(i, end + 1)
        return end + 1

    def drop(self, i, end):
        n = self.number(i, end + 1, 'drop', 'nothing')
        if n:
            self.wrap(i, end + 1, f'{{ if (!ZS_M({n})) ', ' }')

    def branch(self, i):
        close = self.matching(i + 1)
        node = self.parse(i + 2, close)
        head = (i, close + 1)
        self.inside = head
        # The start of the other branch is not known before this one is parsed.
        after = self.skip(close + 1)
        has_else = self.t[after].text == 'else'
        if has_else:
            n = self.number(i, close + 1, 'else', 'and what else does, always')
            if n:
                self.t[i].new = f'{{ bool zs_if{n} ='
                self.t[close].after.append(f'; if (zs_if{n})')
                self.t[after].new = f'if (!zs_if{n} || ZS_M({n}))'
                self.t[self.skip(after + 1) - 1].after.append(' }')
        self.condition(node, 'true', 'false')
        i = self.statement(close + 1, sole=not has_else)
        if has_else:
            i = self.statement(i + 1)
        return i

    def skip(self, i):
        """Behind the statement at @i, which is not mutated"""
        text = self.t[i].text
        if text == '{':
            return self.matching(i) + 1
        if text in ('if', 'for', 'while', 'switch') or LOOPS.match(text):
            i = self.skip(self.matching(i + 1) + 1)
            return self.skip(i + 1) if text == 'if' and self.t[i].text == 'else' else i
        if text == 'do':
            return self.until(self.skip(i + 1), ';') + 1
        return self.until(i, ';') + 1

    def loop(self, i):
        close = self.matching(i + 1)
        first = self.until(i + 2, ';')
        second = self.until(first + 1, ';')
        self.inside = (i, close + 1)
        if first > i + 2:
            if TYPES.match(self.t[i + 2].text):
                self.declaration(i + 2, first)
            else:
                self.mutate(self.parse(i + 2, first))
        if second > first + 1:
            self.condition(self.parse(first + 1, second), 'false')
        if close > second + 1:
            self.mutate(self.parse(second + 1, close), is_statement='for')
        return self.statement(close + 1)

    def declaration(self, i, end):
        if self.t[i].text == 'static' or not any(
                token.text == '=' for token in self.t[i:end]):
            self.no_code(i, end + 1)
            return
        while True:
            # To the next initialiser at this level
            depth = 0
            while i < end and (depth or self.t[i].text != '='):
                depth += self.t[i].text in ('(', '[', '{')
                depth -= self.t[i].text in (')', ']', '}')
                i += 1
            if i >= end:
                return
            i += 1
            if self.t[i].text == '{':
                i = self.matching(i) + 1
                continue
            self.i, self.end = i, end
            node = self.assign()
            i = self.i
            self.mutate(node)

    def leave(self, i, end, sole):
        # The last statement of a function cannot be missing.
        is_last = self.t[end + 1].text == '}' and end + 1 == self.body_end
        if not sole and not is_last:
            self.drop(i, end)
        if end == i + 1:
            return
        node = self.parse(i + 1, end)
        text = self.text(i + 1, end)
        if self.returns == 'bool':
            for value in ('true', 'false'):
                if value == text or text in ('true', 'false') and value == text:
                    continue
                n = self.number(i + 1, end, 'return', value)
                if n and value == 'true':
                    self.wrap(i + 1, end, '(!!(', f') | ZS_M({n}))')
                elif n:
                    self.wrap(i + 1, end, '(!!(', f') & !ZS_M({n}))')
            if node.kind != 'name':
                self.mutate(node, is_condition=True)
            return
        if text not in ('0', 'NULL'):
            pointer = '*' in self.returns
            n = self.number(i + 1, end, 'return', 'NULL' if pointer else '0')
            if n:
                self.wrap(i + 1, end, f'ZS_VALUE({n}, 0, (', '))')
        if '*' not in self.returns and 'struct' not in self.returns and text != '0':
            n = self.number(i + 1, end, 'return', f'{text} + 1')
            if n:
                self.wrap(i + 1, end, '((', f') + ZS_M({n}))')
        self.mutate(node)

    # Functions

    def run(self):
        i = chunk = 0
        while self.t[i].text:
            text = self.t[i].text
            if text in (';', '}'):
                chunk = i + 1
            elif text in ('(', '['):
                i = self.matching(i)
            elif text == '{':
                close = self.matching(i)
                self.body(chunk, i, close)
                i = close
                chunk = i + 1
            i += 1
        return ''.join(token.output() for token in self.t)

    def body(self, chunk, start, end):
        words = [token.text for token in self.t[chunk:start]]
        if not words or words[-1] != ')' or '=' in words or '(' not in words:
            return
        self.function = words[words.index('(') - 1]
        self.returns = ' '.join(
            word for word in words[:words.index('(') - 1]
            if word not in ('static', 'inline', 'noinline', 'const', '__init',
                            '__exit', '__always_inline', 'extern'))
        if not self.t[start].active or IGNORED_FUNCTIONS.match(self.function):
            return
        for token in self.t[start + 1:end]:
            if token.active and token.text not in ('{', '}', ';', 'else', 'do'):
                self.code_lines[token.line] = self.function
        known, old = len(self.out), [(t.before[:], t.after[:], t.new)
                                     for t in self.t[start:end + 1]]
        self.body_end = end
        try:
            i = start + 1
            while i < end:
                i = self.statement(i)
        except ParseError as error:
            del self.out[known:]
            for token, was in zip(self.t[start:end + 1], old):
                token.before, token.after, token.new = was
            self.failed.append(f'{self.function}: {error}')


def close(node, parser):
    node.end = parser.i
    return node


Node.close = close


def main():
    source, out_dir, config_file = sys.argv[1:4]
    left_out = set()
    if len(sys.argv) > 4:
        with open(sys.argv[4]) as f:
            left_out = {int(line) for line in f}
    with open(config_file) as f:
        config = {line.split('=')[0] for line in f
                  if re.match(r'CONFIG_\w+=[ym]', line)}
    os.makedirs(out_dir + '/mm', exist_ok=True)
    mutants, texts, unmutated, lines = [], {}, [], 0
    for name in FILES:
        with open(f'{source}/{name}') as f:
            text = f.read()
        mutator = Mutator(name, text, config, mutants, left_out)
        texts[name] = '#include "zs_mutate.h"\n#line 1\n' + mutator.run()
        for failure in mutator.failed:
            print(f'{name}: cannot parse {failure}', file=sys.stderr)
        lines += len(mutator.code_lines)
        source_lines = text.split('\n')
        for line, function in sorted(mutator.code_lines.items()):
            if line not in mutator.touched:
                unmutated.append(f'{name}:{line}: {function}: '
                                 f'{source_lines[line - 1].strip()}')
    texts['mm/zsmalloc.c'] += FOOTER
    texts['mm/zs_mutate.h'] = HEADER % len(mutants)
    for name, text in texts.items():
        with open(f'{out_dir}/{name}', 'w') as f:
            f.write(text)
    with open(out_dir + '/list', 'w') as f:
        for n, mutant in enumerate(mutants, 1):
            f.write('\t'.join(map(str, (n, *mutant))) + '\n')
    with open(out_dir + '/unmutated', 'w') as f:
        f.write(''.join(line + '\n' for line in unmutated))
    print(f'{len(mutants)} mutations of {lines} lines of code, '
          f'{len(unmutated)} lines have none')


main()
