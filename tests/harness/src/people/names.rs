//! Names of people in many scripts, each with its Latin form for user names and mail addresses, and
//! job titles.

/// A name as written, and in Latin letters.
pub(super) type Written = (&'static str, &'static str);

pub(super) const FIRST: [&str; 64] = [
    "Anna", "Ben", "Carla", "David", "Eva", "Felix", "Grace", "Hugo", "Ines", "Jonas", "Katja", "Leon",
    "Maria", "Noah", "Olga", "Paul", "Rosa", "Simon", "Tina", "Udo", "Vera", "Walter", "Yara", "James",
    "Linda", "Robert", "Susan", "Michael", "Karen", "Daniel", "Nancy", "Priya", "Arjun", "Wei", "Hiro",
    "Yuki", "Fatima", "Omar", "Kofi", "Amara", "Ivan", "Sofia", "Mateo", "Lucia", "Pedro", "Camila", "Aisha",
    "Chidi", "Emma", "Liam", "Olivia", "Lucas", "Mia", "Ethan", "Chloe", "Ravi", "Sunita", "Tariq", "Leila",
    "Kenji", "Elena", "Marco", "Nadia", "Viktor",
];

pub(super) const LAST: [&str; 64] = [
    "Smith", "Jones", "Taylor", "Brown", "Wilson", "Evans", "Walker", "Wright", "Green", "Hall", "Wood",
    "Clarke", "Schmidt", "Weber", "Meyer", "Wagner", "Becker", "Hoffmann", "Koch", "Richter", "Klein",
    "Wolf", "Neumann", "Schwarz", "Kumar", "Singh", "Patel", "Tanaka", "Sato", "Suzuki", "Chen", "Wang",
    "Zhang", "Silva", "Costa", "Rossi", "Russo", "Ferrari", "Ivanov", "Novak", "Kowalski", "Jansen",
    "Bakker", "Dubois", "Moreau", "Laurent", "Garcia", "Lopez", "Okafor", "Mensah", "Haddad", "Rahman",
    "Nguyen", "Tran", "Kim", "Park", "Cohen", "Levi", "Horvat", "Nagy", "Popescu", "Hansen", "Virtanen",
    "Fischer",
];

/// First and last names that belong together, one line a language. The last one is written with
/// combining marks (NFD).
pub(super) const SCRIPTS: [(&[Written], &[Written]); 22] = [
    (
        &[("Jürgen", "juergen"), ("Käthe", "kaethe"), ("Jörg", "joerg")],
        &[("Müller", "mueller"), ("Größmann", "groessmann"), ("Schäfer", "schaefer")],
    ),
    (
        &[("Łukasz", "lukasz"), ("Zofia", "zofia"), ("Małgorzata", "malgorzata")],
        &[("Żółć", "zolc"), ("Wiśniewski", "wisniewski"), ("Dąbrowska", "dabrowska")],
    ),
    (
        &[("Jiří", "jiri"), ("Zdeněk", "zdenek"), ("Růžena", "ruzena")],
        &[("Dvořák", "dvorak"), ("Černý", "cerny"), ("Novotná", "novotna")],
    ),
    (
        &[("Çağla", "cagla"), ("Işıl", "isil"), ("İbrahim", "ibrahim")],
        &[("Yılmaz", "yilmaz"), ("Öztürk", "oztuerk"), ("Şahin", "sahin")],
    ),
    (
        &[("Søren", "soren"), ("Åsa", "asa"), ("Bjørn", "bjorn")],
        &[("Øberg", "oberg"), ("Åkesson", "akesson"), ("Ørsted", "orsted")],
    ),
    (&[("Þóra", "thora"), ("Guðrún", "gudrun")], &[("Jónsdóttir", "jonsdottir"), ("Þórsson", "thorsson")]),
    (
        &[("François", "francois"), ("Zoë", "zoe"), ("Hélène", "helene")],
        &[("Lefèvre", "lefevre"), ("Bérenger", "berenger")],
    ),
    (
        &[("José", "jose"), ("Núria", "nuria"), ("Begoña", "begona")],
        &[("Núñez", "nunez"), ("Ibáñez", "ibanez"), ("García-Márquez", "garcia-marquez")],
    ),
    (&[("João", "joao"), ("Inês", "ines")], &[("Conceição", "conceicao"), ("Magalhães", "magalhaes")]),
    (
        &[("Ngọc", "ngoc"), ("Dũng", "dung"), ("Phượng", "phuong")],
        &[("Nguyễn", "nguyen"), ("Trần", "tran"), ("Đặng", "dang")],
    ),
    (
        &[("Дмитрий", "dmitry"), ("Ольга", "olga"), ("Артём", "artyom")],
        &[("Петров", "petrov"), ("Соловьёв", "solovyov"), ("Щербаков", "shcherbakov")],
    ),
    (&[("Олександр", "oleksandr"), ("Ганна", "hanna")], &[("Шевченко", "shevchenko"), ("Ґудзик", "gudzyk")]),
    (
        &[("Αθηνά", "athina"), ("Γιώργος", "giorgos")],
        &[("Παπαδόπουλος", "papadopoulos"), ("Οικονόμου", "oikonomou")],
    ),
    (&[("محمد", "mohammed"), ("ليلى", "layla")], &[("العلي", "alali"), ("حداد", "haddad")]),
    (&[("נועה", "noa"), ("יוסף", "yosef")], &[("כהן", "cohen"), ("לוי", "levi")]),
    (&[("प्रिया", "priya"), ("अर्जुन", "arjun")], &[("शर्मा", "sharma"), ("कुमार", "kumar")]),
    (&[("สมชาย", "somchai"), ("มาลี", "malee")], &[("ใจดี", "jaidee"), ("ศรีสุข", "srisuk")]),
    (&[("伟", "wei"), ("芳", "fang"), ("𠮷", "ji")], &[("王", "wang"), ("欧阳", "ouyang"), ("李", "li")]),
    (
        &[("健太", "kenta"), ("美咲", "misaki"), ("さくら", "sakura")],
        &[("田中", "tanaka"), ("髙橋", "takahashi")],
    ),
    (&[("민준", "minjun"), ("서연", "seoyeon")], &[("김", "kim"), ("박", "park")]),
    (&[("გიორგი", "giorgi"), ("Անահիտ", "anahit")], &[("ბერიძე", "beridze"), ("Պետրոսյան", "petrosyan")]),
    (
        &[("Ame\u{301}lie", "amelie"), ("Rene\u{301}", "rene")],
        &[("Bjo\u{308}rk", "bjork"), ("Muno\u{303}z", "munoz")],
    ),
];

pub(super) const TITLES: [&str; 12] = [
    "Engineer",
    "Senior Engineer",
    "Analyst",
    "Account Manager",
    "Director, Sales",
    "Nurse",
    "Teacher",
    "Technician",
    "Buyer",
    "Head of R&D",
    "Leiter Einkauf",
    "Ingénieur",
];
